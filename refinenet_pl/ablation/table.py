"""Ablation table: its cells, the paper's scores, and the claims that it tests."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from refinenet_pl.ablation.arguments import Setting, network_arguments, recipe_setting, task_arguments

NETWORK = network_arguments()
TASK = task_arguments()

Family = Literal["primary", "claims", "questions"]
Expectation = Literal["more", "equal"]


class TableError(ValueError):
    """A table file is invalid; the message names the file and the key."""


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes:
        name: Name of the run directory, and the value for `--cells`.
        label: Heading of the row.
        network: Network arguments that differ from the paper's values.
        task: Task arguments that differ from the recipe's values.
        recipe: Other values that differ from the recipe, by dotted key as on the command line. Cells without a key keep the
            recipe's value.
        network_class: Import path of a network that replaces RefineNet and keeps the recipe's values of the arguments that both
            have. None for RefineNet.
    """

    name: str
    label: str
    network: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    network_class: str | None = None


@dataclass(frozen=True)
class Claim:
    """A claim of the paper or a practical question, and the weighted sum over cells that tests it.

    Attributes:
        claim: The claim in our words.
        table: Name of the table.
        effect: Weight of each cell; the weights sum to 0.
        expects: `more` if the effect should be above 0, `equal` if it should be within the margin of the score.
        score: Name of the score, a key of `refinenet_pl.metrics.registry.SCORES`; None for the primary score of the records.
        minus: Name of a score to subtract, with the direction and unit of `score`, or None.
        paper: Weights by recipe that replace `effect` for the paper's scores, if the paper has none for the cells of `effect`.
        family: Family of tests for which p-values are adjusted together.
    """

    claim: str
    table: str
    effect: dict[str, float]
    expects: Expectation
    score: str | None = None
    minus: str | None = None
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    family: Family = "claims"

    def published(self, table: "Table") -> dict[str, float]:
        """Effect on mIoU in the paper, in points, by recipe; recipes are omitted if the paper lacks one of the scores."""
        found = {}
        for recipe, figures in table.published.items() if self.score in (None, "miou") and self.minus is None else ():
            weights = self.paper.get(recipe, self.effect)
            if set(weights) <= set(figures):
                found[recipe] = sum(weight * figures[cell] for cell, weight in weights.items())
        return found


@dataclass(frozen=True)
class Table:
    """One ablation table.

    Attributes:
        file: The YAML file.
        name: Name of the file without its suffix.
        title: Heading.
        source: Table or section of the paper.
        claim: The paper's claim in our words.
        reference: Name of the cell that the others are compared with.
        cells: Rows by name, in order.
        settings: Network arguments of all rows of the paper's table, by recipe.
        published: The paper's mIoU in percent, by recipe and cell.
        multi_scale: Test scales of the multi-scale column; empty for no such column.
        published_multi_scale: The paper's multi-scale mIoU in percent, by recipe and cell.
        claims: Claims that the cells test.
    """

    file: Path
    name: str
    title: str
    source: str
    claim: str
    reference: str
    cells: dict[str, Cell]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: dict[str, dict[str, float]] = field(default_factory=dict)
    multi_scale: list[float] = field(default_factory=list)
    published_multi_scale: dict[str, dict[str, float]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)

    @property
    def varied(self) -> list[Setting]:
        """Arguments that the cells vary. Cells that omit one of them have the paper's value."""
        network = {name: NETWORK[name] for cell in self.cells.values() for name in cell.network}
        task = {name: TASK[name] for cell in self.cells.values() for name in cell.task}
        return [*network.values(), *task.values()]

    def cell_settings(self, cell: str) -> dict[Setting, Any]:
        """Values of a cell: all arguments that the table varies, and the recipe's keys that the cell changes.

        The paper's values are included, so that a recipe with different values cannot change the meaning of a row. Cells with a
        `network_class` have no values of RefineNet's arguments.
        """
        deltas = self.cells[cell].network | self.cells[cell].task
        varied = [s for s in self.varied if self.cells[cell].network_class is None or s.argument in TASK]
        settings = {setting: deltas.get(setting.argument, setting.paper) for setting in varied}
        return settings | {recipe_setting(key): value for key, value in self.cells[cell].recipe.items()}

    def recipe_settings(self, recipe: str) -> dict[Setting, Any]:
        """Values shared by all rows of the paper's table on this recipe; empty if the paper has no such table."""
        return {NETWORK[name]: value for name, value in self.settings.get(recipe, {}).items()}

    def reference_among(self, cells: list[str]) -> str:
        """Name of the reference cell if it is among `cells`, otherwise the first of them."""
        return self.reference if self.reference in cells else cells[0]

    def select(self, names: list[str] | None) -> list[Cell]:
        """Select cells by name, in the table's order; all cells for None.

        Raises:
            TableError: A cell does not exist.
        """
        unknown = sorted(set(names or []) - set(self.cells))
        if unknown:
            raise TableError(f"{self.name} has no cell {', '.join(unknown)}; it has {', '.join(self.cells)}")
        return [cell for cell in self.cells.values() if names is None or cell.name in names]
