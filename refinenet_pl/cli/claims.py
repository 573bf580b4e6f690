#!/usr/bin/env python
"""What the kept records say about the paper's claims: writes experiments/results/README.md."""

import sys
from pathlib import Path

from refinenet_pl.ablation.records import RecordError
from refinenet_pl.files import replaced
from refinenet_pl.report.claims import page

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Write the page; gives the exit code: 0, or 2 where a record cannot be read."""
    try:
        text = page(RESULTS)
    except RecordError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with replaced(RESULTS / "README.md") as stream:
        stream.write(text.encode())
    print(f"Written: {RESULTS / 'README.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
