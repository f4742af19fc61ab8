"""Ends of files: whether one is cut short, and what lies behind it."""
