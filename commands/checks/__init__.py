"""The checks of `raysift doctor`, one module for each part of a cluster."""
