#!/usr/bin/env python
"""Alias of `refinenet report`."""

import sys

from refinenet_pl.cli.main import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
