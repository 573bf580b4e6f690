"""Records of runs, from run directories and from files of kept records."""

import json
from pathlib import Path
from typing import Any

from refinenet_pl.ablation.comparison import Records, get
from refinenet_pl.ablation.table import Table
from refinenet_pl.files import expand_path
from refinenet_pl.moved import present_paths
from refinenet_pl.tracking.identity import RunId

FORMAT = 1
KEPT = "records.jsonl"


class RecordError(ValueError):
    """A record cannot be read; the message names the file."""


def read_records(root: str | Path, group: str) -> Records:
    """Read the records of a group from its records.jsonl and its run directories.

    If both contain a run, its directory takes precedence.

    Args:
        root: Directory of all runs.
        group: Name of the group, TABLE@RECIPE.

    Returns:
        Records by cell and seed, with the current import paths of classes that have moved.

    Raises:
        RecordError: A file cannot be read, is not a record, or is the record of another run.
    """
    folder = expand_path(root) / group
    records = _kept(folder)
    table, _, recipe = group.partition("@")
    for file in sorted(folder.glob("*/seed*/results.json")):
        cell, seed = file.parent.parent.name, file.parent.name.removeprefix("seed")
        if seed.isdigit():
            records[cell, int(seed)] = _parse(file, {"recipe": recipe, "table": table, "cell": cell, "seed": int(seed)})
    return records


def read_record(run: RunId) -> dict[str, Any] | None:
    """Read the record of one run, see `read_records`; None if the run is not finished."""
    if run.results_file.exists():
        return _parse(run.results_file, run.names)
    return _kept(run.directory.parents[1]).get((run.cell, run.seed))


def find_seeds(table: Table, recipe: str, root: str) -> list[int]:
    """Seeds with a record or a directory of any cell of the table; [0] if there are none."""
    group = expand_path(root) / f"{table.name}@{recipe}"
    names = {path.name.removeprefix("seed") for cell in table.cells for path in (group / cell).glob("seed*")}
    kept = {seed for cell, seed in _kept(group) if cell in table.cells}
    return sorted({int(name) for name in names if name.isdigit()} | kept) or [0]


def _kept(folder: Path) -> Records:
    """Records in a group's records.jsonl; empty if the file does not exist."""
    file = folder / KEPT
    if not file.exists():
        return {}
    table, _, recipe = folder.name.partition("@")
    records: Records = {}
    for number, line in enumerate(_read(file).splitlines(), 1):
        record = _record(line, f"{file}:{number}")
        cell, seed = get(record, "run", "cell"), get(record, "run", "seed")
        if None in (cell, seed) or record["run"] != {"recipe": recipe, "table": table, "cell": cell, "seed": seed}:
            raise RecordError(
                f"{file}:{number}: belongs to the run {record.get('run')}, not to {folder.name}; remove the line or move it"
            )
        records[cell, seed] = record
    return records


def _parse(file: Path, names: dict[str, str | int]) -> dict[str, Any]:
    record = _record(_read(file), str(file))
    if record.get("run") != names:
        raise RecordError(f"{file}: belongs to the run {record.get('run')}, not to {names}; move it to that run's directory")
    return record


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RecordError(f"{file}: cannot be read: {error}") from error


def _record(text: str, source: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError as error:
        raise RecordError(f"{source}: invalid JSON: {error}; remove it, or train the run again") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RecordError(f"{source}: not a record of format {FORMAT}; remove it, or train the run again")
    return record | {key: present_paths(record[key]) for key in ("network", "config") if key in record}
