"""Local folders and buckets: file systems, listings, reads with retries."""
