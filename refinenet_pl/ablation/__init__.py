"""Ablation tables: their files, the runs that fill them, and their figures."""
