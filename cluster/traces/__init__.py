"""Traces: what one request or one job did in every process, and how long each part of it took."""
