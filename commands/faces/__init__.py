"""Commands of `raysift people` on groups of faces."""
