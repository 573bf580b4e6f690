"""Measurements of `experiments/benchmark.py`, a file each."""
