"""Sends decoded samples to the detectors and combines their answers into one result per unit."""
