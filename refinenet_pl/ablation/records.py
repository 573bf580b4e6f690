"""What the runs of a table left behind, and the figures of a table from it."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from refinenet_pl.ablation.comparison import differences, get, partial_scores, wrong_settings
from refinenet_pl.ablation.logs import unfinished_state
from refinenet_pl.ablation.significance import Significance, compare
from refinenet_pl.ablation.silence import silent_blocks
from refinenet_pl.ablation.tables import Cell, Table
from refinenet_pl.tracking.identity import RunId

FORMAT = 1
# What tables can be of, each a mean over the classes.
SCORES = {"miou": "mIoU", "boundary_miou": "boundary mIoU"}
_STATES = {"not started": "has not begun to train", "running": "is running", "stopped": "was stopped", "failed": "has failed"}


class RecordError(ValueError):
    """A results.json that cannot be read; the message names the file."""


@dataclass(frozen=True)
class Estimate:
    """Mean and spread over seeds.

    Attributes:
        values: The value of each seed.
    """

    values: dict[int, float]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation (n - 1); None for fewer than two values."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass
class Row:
    """One cell's figures.

    Attributes:
        cell: The cell.
        records: The seeds' results.json that exist.
        score: The report's score in per cent.
        unfinished: For the seeds without a score, their state: `not started`, `running`, `stopped`, `failed` or `diverged`.
        difference: The score minus the reference cell's of the same seed, in points; only seeds that both have; none for the
            reference itself.
        significance: Whether that is more than noise; None for fewer than two differences.
        paper: The paper's mIoU in per cent.
        multi_scale: As `score`, averaged over the table's test scales.
        paper_multi_scale: The paper's mIoU for that.
    """

    cell: Cell
    records: dict[int, dict] = field(default_factory=dict)
    unfinished: dict[int, str] = field(default_factory=dict)
    score: Estimate = field(default_factory=lambda: Estimate({}))
    difference: Estimate = field(default_factory=lambda: Estimate({}))
    significance: Significance | None = None
    paper: float | None = None
    multi_scale: Estimate = field(default_factory=lambda: Estimate({}))
    paper_multi_scale: float | None = None

    @property
    def parameters(self) -> int | None:
        return next((get(record, "network", "parameters") for record in self.records.values()), None)

    @property
    def seconds(self) -> float | None:
        seconds = [get(record, "training", "seconds") for record in self.records.values()]
        seconds = [value for value in seconds if value is not None]
        return statistics.fmean(seconds) if seconds else None


@dataclass
class Report:
    """The figures of a table on one recipe.

    Attributes:
        table: The table.
        recipe: Name of the recipe.
        split: The split that the figures are of.
        score: Which of `SCORES` they are.
        seeds: The seeds that each row should have.
        reference: Name of the cell that the rows are compared with.
        rows: One for each cell.
        missing: What is not there, in words.
        warnings: Reasons for which rows cannot be compared, in words.
    """

    table: Table
    recipe: str
    split: str
    score: str
    seeds: list[int]
    reference: str
    rows: list[Row]
    missing: list[str]
    warnings: list[str]

    @property
    def has_paper(self) -> bool:
        return self.score == "miou" and bool(self.table.published.get(self.recipe))

    @property
    def has_paper_multi_scale(self) -> bool:
        return self.score == "miou" and bool(self.table.published_multi_scale.get(self.recipe))

    @property
    def compared(self) -> int:
        """How many rows were tested against the reference."""
        return sum(row.significance is not None for row in self.rows)

    @property
    def records(self) -> list[dict]:
        return [record for row in self.rows for record in row.records.values()]


def find_seeds(table: Table, recipe: str, root: str) -> list[int]:
    """The seeds of which any cell of the table has a directory; [0] when there are none."""
    group = RunId(recipe, table.name, root=root).directory.parents[1]
    found = {
        int(path.name.removeprefix("seed"))
        for cell in table.cells
        for path in (group / cell).glob("seed*")
        if path.name.removeprefix("seed").isdigit()
    }
    return sorted(found) or [0]


def read_record(run: RunId) -> dict | None:
    """A run's record; None when it has none yet.

    Raises:
        RecordError: The file is no record, or another run's.
    """
    if not run.results_file.exists():
        return None
    try:
        record = json.loads(run.results_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{run.results_file}: cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RecordError(f"{run.results_file}: is no record of format {FORMAT}")
    if record.get("run") != run.names:
        raise RecordError(f"{run.results_file}: is the record of {record.get('run')}, but lies where {run.names} belongs")
    return record


def build_report(
    table: Table,
    recipe: str,
    root: str,
    seeds: Sequence[int],
    cells: list[str] | None = None,
    split: str = "val",
    reference: str | None = None,
    score: str = "miou",
) -> Report:
    """Read the records of a table and reduce them.

    Args:
        table: The table.
        recipe: Name of the recipe.
        root: Directory of all runs.
        seeds: Seeds that each cell should have.
        cells: Names of the cells shown; None for all. The reference's records are read all the same.
        split: The evaluation that is reported.
        reference: Another reference than the table's own.
        score: Which of `SCORES` the figures are.

    Raises:
        RecordError: A record cannot be read.
        TableError: There is no cell of that name.
    """
    reference = reference or table.reference
    missing: list[str] = []
    table.select([reference])
    baseline = _read_row(table, reference, recipe, root, seeds, (split, score), [])
    rows = []
    for cell in table.select(cells):
        row = _read_row(table, cell.name, recipe, root, seeds, (split, score), missing)
        if cell.name != reference:
            pairs = sorted(set(row.score.values) & set(baseline.score.values))
            row.difference = Estimate({seed: row.score.values[seed] - baseline.score.values[seed] for seed in pairs})
        rows.append(row)
    for row, test in zip(rows, compare([list(row.difference.values.values()) for row in rows]), strict=True):
        row.significance = test
    records = runs_of([baseline, *rows])
    warnings = wrong_settings(table, recipe, records) + differences(table, records) + silent_blocks(records)
    warnings += partial_scores(records, split)
    return Report(table, recipe, split, score, list(seeds), reference, rows, missing, warnings)


def runs_of(rows: list[Row]) -> dict[tuple[str, int], dict]:
    """The records by cell and seed."""
    return {(row.cell.name, seed): record for row in rows for seed, record in row.records.items()}


def _read_row(
    table: Table, cell: str, recipe: str, root: str, seeds: Sequence[int], figure: tuple[str, str], missing: list[str]
) -> Row:
    row = Row(
        table.cells[cell],
        paper=table.published.get(recipe, {}).get(cell),
        paper_multi_scale=table.published_multi_scale.get(recipe, {}).get(cell),
    )
    for seed in seeds:
        run = RunId(recipe, table.name, cell, seed, root)
        record = read_record(run)
        if record is not None:
            row.records[seed] = record
            if diverged := record.get("diverged"):
                row.unfinished[seed] = "diverged"
                missing.append(f"{run.name} diverged: {diverged['reason']}")
        else:
            state, words = unfinished_state(run)
            row.unfinished[seed] = state
            if run.directory.exists():
                missing.append(f"{run.name} {' '.join(filter(None, [_STATES[state], words and f'({words})']))}")
    split, score = figure
    row.score = _estimate(table, row, recipe, split, score, missing)
    if table.multi_scale:
        row.multi_scale = _estimate(table, row, recipe, f"{split}, multi-scale", score, missing)
    return row


def _estimate(table: Table, row: Row, recipe: str, evaluation: str, score: str, missing: list[str]) -> Estimate:
    values = {}
    for seed, record in row.records.items():
        if row.unfinished.get(seed) == "diverged":
            continue
        value = get(record, "evaluations", evaluation, score)
        if isinstance(value, (int, float)) and value == value:
            values[seed] = 100.0 * value
        else:
            missing.append(f"{RunId(recipe, table.name, row.cell.name, seed).name} has no {SCORES[score]} on {evaluation}")
    return Estimate(values)
