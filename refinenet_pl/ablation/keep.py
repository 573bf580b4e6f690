"""Records of finished runs, packed into one file per table and recipe."""

import json
from pathlib import Path
from typing import Any

from refinenet_pl.ablation.arguments import same
from refinenet_pl.ablation.comparison import trainer_defaults
from refinenet_pl.ablation.records import KEPT, RecordError, read_records
from refinenet_pl.files import expand_path, replaced


def keep(root: Path, group: str, target: Path) -> Path:
    """Write the records of a group's finished runs to the group's records.jsonl, one per line.

    Lines are sorted by cell and seed. A new record replaces an existing one of the same cell and seed; all others stay.
    Trainer arguments with their default value are omitted, and so is the directory of the runs.

    Args:
        root: Directory of all runs.
        group: Name of the group, TABLE@RECIPE.
        target: Directory of kept results; may be `root`.

    Returns:
        Path of the file.

    Raises:
        RecordError: There are no finished runs, or a record cannot be read.
        OSError: The file cannot be written.
    """
    new = read_records(root, group)
    if not new:
        raise RecordError(f"{expand_path(root) / group}: no finished runs; check --root, or train with `refinenet ablate run`")
    records = read_records(target, group) | new
    file = expand_path(target) / group / KEPT
    with replaced(file) as stream:
        for _, record in sorted(records.items()):
            stream.write(json.dumps(_shortened(record), allow_nan=False, separators=(",", ":")).encode() + b"\n")
    return file


def _shortened(record: dict[str, Any]) -> dict[str, Any]:
    """Copy of a record without the trainer's default arguments, and without a copy of its names and `--run.root`."""
    config = {name: value for name, value in (record.get("config") or {}).items() if name != "run"}
    if "trainer" in config:
        defaults, trainer = trainer_defaults(), config["trainer"]
        config["trainer"] = {
            name: value for name, value in trainer.items() if name not in defaults or not same(value, defaults[name])
        }
    return record | {"config": config} if config else record
