"""The HTTP API: FastAPI routes, their limits, media by range, search."""
