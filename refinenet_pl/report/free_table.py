"""Table of runs without a table: a row for each cell; for runs of a sweep, with their options, best first."""

from pathlib import Path
from typing import Any

import yaml

from refinenet_pl.ablation.comparison import Records, trainer_defaults
from refinenet_pl.ablation.records import RecordError, read_records
from refinenet_pl.ablation.scores import primary, shown
from refinenet_pl.ablation.table import Cell, Table
from refinenet_pl.tracking.auto_cell import DEFAULT, is_auto_name, label, varied


def free_table(folder: Path, split: str) -> Table | None:
    """Build the table of a group of runs.

    Args:
        folder: Directory of the group, TABLE@RECIPE.
        split: Name of the evaluation by which the runs of a sweep are sorted.

    Returns:
        The table; its reference is the cell `default` or `paper`, otherwise the first one. None if there are no runs.

    Raises:
        RecordError: A record or configuration cannot be read.
    """
    records = read_records(folder.parent, folder.name)
    found = sorted({cell for cell, _ in records} | {path.name for path in folder.iterdir() if any(path.glob("seed*"))})
    if not found:
        return None
    cells, claim = {cell: Cell(cell, cell) for cell in found}, "Runs without a table."
    if any(map(is_auto_name, found)):
        cells = _best_first(cells | _sweep_cells(found, records, folder), records, split)
        claim = "Runs without a table, labeled by the options in which they differ, best first."
    reference = next((cell for cell in (DEFAULT, "paper") if cell in cells), next(iter(cells)))
    name = folder.name.partition("@")[0]
    return Table(folder, name, f"Runs of {name}", "not in the paper", claim, reference, cells)


def _sweep_cells(cells: list[str], records: Records, folder: Path) -> dict[str, Cell]:
    """Rows of the cells that `--run.cell auto` named, labeled by the options in which their configurations differ."""
    configs = {}
    for cell in cells:
        if is_auto_name(cell) or cell == DEFAULT:
            config = _config(cell, records, folder)
            if config is not None:
                configs[cell] = config
    options = varied(configs)
    keys = list(dict.fromkeys(key for values in options.values() for key in values))
    return {cell: Cell(cell, label(values, keys) or cell, recipe=values) for cell, values in options.items()}


def _config(cell: str, records: Records, folder: Path) -> dict[str, Any] | None:
    """Configuration of a cell: of any record, otherwise of a run that is not finished; None if there is none."""
    config = next((record["config"] for (name, _), record in records.items() if name == cell and "config" in record), None)
    file = next(iter(sorted((folder / cell).glob("seed*/config.yaml"))), None)
    if config is None and file is not None:
        try:
            config = dict(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
            raise RecordError(f"{file}: cannot be read: {error}; remove it, or start the run again") from error
    # Kept records omit default arguments.
    return None if config is None else config | {"trainer": trainer_defaults() | config.get("trainer", {})}


def _best_first(cells: dict[str, Cell], records: Records, split: str) -> dict[str, Cell]:
    """Sort cells by their mean primary score; those without a score are last."""
    score = primary(records.values())
    means = {}
    for cell in cells:
        values = [shown(record, split, score) for (name, _), record in records.items() if name == cell]
        known = [value for value in values if value is not None]
        means[cell] = sum(known) / len(known) if known else None
    sign = -1 if score.higher_is_better else 1
    order = sorted(cells, key=lambda cell: (means[cell] is None, sign * (means[cell] or 0)))
    return {cell: cells[cell] for cell in order}
