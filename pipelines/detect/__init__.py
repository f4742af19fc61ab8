"""Decoded samples to the detectors, and their answers to one result per unit."""
