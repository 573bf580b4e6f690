#!/usr/bin/env python
"""Ablation tables of RefineNet; the same as `refinenet ablate`."""

import sys

from refinenet_pl.cli.main import main

if __name__ == "__main__":
    main(["ablate", *sys.argv[1:]])
