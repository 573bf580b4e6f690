"""Figures of a table, computed from run records: scores, differences and their significance."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from refinenet_pl.ablation.comparison import Records, differences, get, partial_scores, wrong_settings
from refinenet_pl.ablation.logs import unfinished_state
from refinenet_pl.ablation.records import read_records
from refinenet_pl.ablation.scores import find_score, primary, shown
from refinenet_pl.ablation.significance import Significance, compare
from refinenet_pl.ablation.table import Cell, Table
from refinenet_pl.metrics.dead_relu import inactive_blocks
from refinenet_pl.metrics.score import Score
from refinenet_pl.tracking.identity import RunId

_STATES = {"not started": "has not started", "running": "is running", "stopped": "was stopped", "failed": "failed"}


@dataclass(frozen=True)
class Estimate:
    """Mean and spread over seeds.

    Attributes:
        values: Value by seed.
    """

    values: dict[int, float]

    @property
    def mean(self) -> float | None:
        """Mean; None if there are no values."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation (n - 1); None for fewer than two values."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass
class Row:
    """Figures of one cell.

    Attributes:
        cell: The cell.
        records: Available records by seed.
        unfinished: State of each seed without a score: `not started`, `running`, `stopped`, `failed` or `diverged`.
        score: The report's score, as it is shown: shares in percent, others in their unit.
        difference: Score minus the reference cell's score with the same seed, in points or in the score's unit, for seeds that
            both have; empty for the reference.
        significance: Test of the difference; None for fewer than two seeds.
        paper: The paper's mIoU, in percent; None for other scores.
        multi_scale: Score with predictions averaged over the table's test scales, as it is shown.
        paper_multi_scale: The paper's multi-scale mIoU, in percent; None for other scores.
    """

    cell: Cell
    records: dict[int, dict[str, Any]] = field(default_factory=dict)
    unfinished: dict[int, str] = field(default_factory=dict)
    score: Estimate = field(default_factory=lambda: Estimate({}))
    difference: Estimate = field(default_factory=lambda: Estimate({}))
    significance: Significance | None = None
    paper: float | None = None
    multi_scale: Estimate = field(default_factory=lambda: Estimate({}))
    paper_multi_scale: float | None = None

    @property
    def parameters(self) -> int | None:
        """Number of the network's parameters; None if there are no records."""
        return next((get(record, "network", "parameters") for record in self.records.values()), None)

    @property
    def seconds(self) -> float | None:
        """Mean training time of one run, in seconds."""
        seconds = [get(record, "training", "seconds") for record in self.records.values()]
        seconds = [value for value in seconds if value is not None]
        return statistics.fmean(seconds) if seconds else None


@dataclass
class Report:
    """Figures of a table on one recipe.

    Attributes:
        table: The table.
        recipe: Name of the recipe.
        split: Name of the evaluation.
        score: The score.
        primary: The primary score of the records.
        seeds: Seeds that each row should have.
        reference: Name of the cell that the rows are compared with.
        rows: One row per cell.
        missing: Sentences about missing runs and scores.
        warnings: Sentences about differences that make rows incomparable.
    """

    table: Table
    recipe: str
    split: str
    score: Score
    primary: Score
    seeds: list[int]
    reference: str
    rows: list[Row]
    missing: list[str]
    warnings: list[str]

    @property
    def has_paper(self) -> bool:
        """True if the paper has single-scale scores on the recipe."""
        return self.score.name == "miou" and bool(self.table.published.get(self.recipe))

    @property
    def has_paper_multi_scale(self) -> bool:
        """True if the paper has multi-scale scores on the recipe."""
        return self.score.name == "miou" and bool(self.table.published_multi_scale.get(self.recipe))

    @property
    def compared(self) -> int:
        """Number of rows that were tested against the reference."""
        return sum(row.significance is not None for row in self.rows)

    @property
    def records(self) -> list[dict[str, Any]]:
        """Records of all rows."""
        return [record for row in self.rows for record in row.records.values()]


def build_report(
    table: Table,
    recipe: str,
    root: str,
    seeds: Sequence[int],
    cells: list[str] | None = None,
    split: str = "val",
    reference: str | None = None,
    score: str | None = None,
) -> Report:
    """Compute the figures of a table from its records.

    Args:
        table: The table.
        recipe: Name of the recipe.
        root: Directory of all runs.
        seeds: Seeds that each cell should have.
        cells: Names of the cells to show; None for all. The reference is always read.
        split: Name of the evaluation to report.
        reference: Name of the reference cell; None for the table's.
        score: Name of the score, see `find_score`; None for the primary score of the records.

    Raises:
        CatalogError: There is no such score.
        RecordError: A record cannot be read.
        TableError: A cell does not exist.
    """
    reference = reference or table.reference
    missing: list[str] = []
    table.select([reference])
    found = read_records(root, f"{table.name}@{recipe}")
    main = primary(found.values())
    chosen = main if score is None else find_score(score, found.values())
    runs = {cell: {seed: RunId(recipe, table.name, cell, seed, root) for seed in seeds} for cell in table.cells}
    baseline = _row(table, runs[reference], found, (split, chosen), [])
    rows = []
    for cell in table.select(cells):
        row = _row(table, runs[cell.name], found, (split, chosen), missing)
        if cell.name != reference:
            pairs = sorted(set(row.score.values) & set(baseline.score.values))
            row.difference = Estimate({seed: row.score.values[seed] - baseline.score.values[seed] for seed in pairs})
        rows.append(row)
    for row, test in zip(rows, compare([list(row.difference.values.values()) for row in rows]), strict=True):
        row.significance = test
    records = {(row.cell.name, seed): record for row in [baseline, *rows] for seed, record in row.records.items()}
    warnings = wrong_settings(table, recipe, records) + differences(table, records) + inactive_blocks(records)
    warnings += partial_scores(records, split)
    return Report(table, recipe, split, chosen, main, list(seeds), reference, rows, missing, warnings)


def _row(table: Table, runs: dict[int, RunId], found: Records, figure: tuple[str, Score], missing: list[str]) -> Row:
    """Figures of one cell; appends sentences about missing runs to `missing`."""
    first = next(iter(runs.values()))
    split, score = figure
    row = Row(table.cells[first.cell])
    if score.name == "miou":
        row.paper = table.published.get(first.recipe, {}).get(first.cell)
        row.paper_multi_scale = table.published_multi_scale.get(first.recipe, {}).get(first.cell)
    for seed, run in runs.items():
        record = found.get((run.cell, seed))
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
    row.score = _estimate(row, runs, split, score, missing)
    if table.multi_scale:
        row.multi_scale = _estimate(row, runs, f"{split}, multi-scale", score, missing)
    return row


def _estimate(row: Row, runs: dict[int, RunId], evaluation: str, score: Score, missing: list[str]) -> Estimate:
    values = {}
    for seed, record in row.records.items():
        if row.unfinished.get(seed) == "diverged":
            continue
        value = shown(record, evaluation, score)
        if value is not None:
            values[seed] = value
        else:
            missing.append(f"{runs[seed].name} has no {score.label} on {evaluation}")
    return Estimate(values)
