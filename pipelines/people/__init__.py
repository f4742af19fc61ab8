"""Enrolled people in stored results: matching and erasure."""
