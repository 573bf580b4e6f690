"""Records of benchmarks: shared options, JSON files and Markdown tables."""

import argparse
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from refinenet_pl.files import slug, write_json
from refinenet_pl.tracking.environment import describe_environment

RESULTS = Path(__file__).resolve().parent / "results"


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--output", type=Path, help="JSON file; if omitted, NAME_DEVICE.json in benchmarks/results")
    return parser


def write(name: str, options: argparse.Namespace, entries: dict[str, Any]) -> dict[str, Any]:
    """Write a record and print its lists of rows as Markdown.

    Args:
        name: First part of the file name.
        options: Options of the command line.
        entries: Measurements.

    Returns:
        The record: `entries`, `date`, and the entries of `describe_environment`.
    """
    about = describe_environment(torch.device(options.device)) | {"date": date.today().isoformat()}
    about["device"] = about["device"].replace("CPU", _processor())
    record = about | entries
    output = options.output or RESULTS / f"{name}_{slug(record['device'])}.json"
    write_json(output, record)
    tables = [table(rows) for rows in entries.values() if isinstance(rows, list)]
    print(f"{record['device']}, {record['date']}, torch {record['versions']['torch']}: {output}", *tables, sep="\n\n")
    return record


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as a Markdown table with a column for each key of any row; missing values are blank."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(key, row.get(key)) for key in keys] for row in rows]
    header = [key.removesuffix("_bytes").replace("_", " ") for key in keys]
    return tabulate(cells, header, tablefmt="pipe", disable_numparse=True, colalign=["left", *["right"] * (len(keys) - 1)])


def _cell(key: str, value: object) -> str:
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**30:.2f} GiB"
    if isinstance(value, int) and value >= 10**6:
        return f"{value / 1e6:,.1f} M"
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
