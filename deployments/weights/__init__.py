"""Where model weights come from: packages, files, buckets, a mirror, the model hub."""
