"""Measurements of speed and memory: `python -m benchmarks.NAME`, one file for each command, records in `results/`."""
