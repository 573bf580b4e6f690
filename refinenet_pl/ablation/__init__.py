"""The ablation tables: their files, the runs that fill them, and what is reported. Nothing here imports a network."""
