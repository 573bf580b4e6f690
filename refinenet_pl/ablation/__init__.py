"""Ablation tables: table files, execution of their runs, figures and rendering."""
