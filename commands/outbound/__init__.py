"""What other programs get: `raysift export`, `raysift webhooks`."""
