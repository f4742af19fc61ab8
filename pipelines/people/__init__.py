"""Enrolled people in stored results: matching, clustering unknown faces, erasure."""
