#!/usr/bin/env python
"""Alias of `refinenet ablate`."""

import sys

from refinenet_pl.cli.main import main

if __name__ == "__main__":
    main(["ablate", *sys.argv[1:]])
