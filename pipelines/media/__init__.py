"""Reading and decoding media files, in child processes with limits."""
