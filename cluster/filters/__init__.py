"""Conditions on files, as they stand in URLs, and in words."""
