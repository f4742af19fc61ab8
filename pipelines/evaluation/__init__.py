"""Measures how right detectors are on files with labels."""
