#!/usr/bin/env python
"""Runs as one page of HTML, from a directory or gathered from W&B."""

import argparse
import sys
from pathlib import Path

from refinenet_pl.ablation.records import RecordError
from refinenet_pl.ablation.rendering import render
from refinenet_pl.ablation.tables import TableError
from refinenet_pl.ablation.wandb_download import GatherError, gather
from refinenet_pl.cli.ablate_options import path
from refinenet_pl.files import replaced
from refinenet_pl.report.collect import collect
from refinenet_pl.report.page import build_page

EXAMPLES = """\
examples:
  python experiments/report.py runs -o report.html
  python experiments/report.py runs/chained_pooling@camvid --split test -o report.html
  python experiments/report.py --wandb ENTITY/PROJECT -o report.html      the runs of several machines, gathered

The page needs no server and loads nothing. The tables are printed too, as Markdown.
"""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        arguments: The command line's words; None for the process's own.

    Returns:
        The exit code: 0, or 2 where there is nothing to report or no page can be written.
    """
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = "of all runs, or of one group, TABLE@RECIPE; with --wandb where they are gathered (default then: gathered)"
    parser.add_argument("directory", type=path, nargs="?", metavar="DIR", help=words)
    parser.add_argument("-o", "--output", type=path, default=Path("report.html"), help="the page (default: report.html)")
    parser.add_argument("--split", default="val", help="the evaluation to report (default: val)")
    parser.add_argument("--tables", nargs="+", default=[], metavar="FILE", help="tables that are not in experiments/tables")
    parser.add_argument("--title", default="RefineNet: runs compared")
    words = "first gather this project's runs into DIR, where those that are there stay"
    parser.add_argument("--wandb", metavar="ENTITY/PROJECT", help=words)
    options = parser.parse_args(arguments)
    if not (options.directory or options.wandb):
        parser.error("name a directory of runs, or a W&B project with --wandb")
    directory = options.directory or Path("gathered")
    try:
        if options.wandb:
            for line in gather(options.wandb, directory):
                print(line, file=sys.stderr)
        groups = collect(directory, options.tables, options.split)
        with replaced(options.output) as stream:
            stream.write(build_page(groups, options.title).encode())
    except (GatherError, RecordError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; make room or give permission to write", file=sys.stderr)
        return 2
    print("\n".join(render(group.report) for group in groups))
    print(f"Written: {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
