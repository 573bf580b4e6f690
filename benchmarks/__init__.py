"""Benchmarks of speed and memory: `python -m benchmarks.NAME`, with records in `results/`."""
