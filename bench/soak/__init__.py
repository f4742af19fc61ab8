"""Mixed load on a cluster of its own: `python -m bench.soak`."""
