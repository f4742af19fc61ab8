"""The commands of `raysift` that need more than a few lines."""
