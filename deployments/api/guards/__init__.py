"""What a request passes before its route: Host and Origin, limits of addresses and of keys, Idempotency-Key."""
