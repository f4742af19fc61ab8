"""Measures how the rate of a job grows with the nodes of a cluster."""
