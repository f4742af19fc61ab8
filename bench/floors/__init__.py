"""Measures the floors of searches by similarity."""
