"""`raysift cases`."""
