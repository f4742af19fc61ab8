"""Benchmarks, run manually: `python -m bench.NAME`."""
