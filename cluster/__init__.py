"""What everything else is built on: records, settings, storage, results, vectors, GPUs, processes."""
