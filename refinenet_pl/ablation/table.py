"""One ablation table: its cells, the paper's figures for them, and the claims that they test."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from refinenet_pl.ablation.arguments import Setting, network_arguments, recipe_setting, task_arguments

# Scores that tables and claims are of, each a mean over the classes.
SCORES = {"miou": "mIoU", "boundary_miou": "boundary mIoU"}
NETWORK = network_arguments()
TASK = task_arguments()

Family = Literal["claims", "questions"]
Expectation = Literal["more", "equal"]


class TableError(ValueError):
    """A table file that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes:
        name: Short name: a directory, and the word for `--cells`.
        label: The row's heading.
        network: Arguments of the network that differ from the paper's.
        task: Arguments of the training task that differ from the recipe's.
        recipe: Other values of the recipe that differ here, by dotted key as on the command line. Cells without such a key keep
            the recipe's value.
        network_class: Import path of a network that takes RefineNet's place; what it has in common with RefineNet's arguments
            stays as the recipe has it. None for RefineNet.
    """

    name: str
    label: str
    network: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    network_class: str | None = None


@dataclass(frozen=True)
class Claim:
    """One sentence, of the paper or ours, and the sum over cells that tests it.

    Attributes:
        claim: The sentence, in our words.
        table: Name of the table.
        effect: Weight of each cell; the weights sum to 0.
        expects: `more` if the effect should be above 0, `equal` if it should be within the margin.
        score: One of `SCORES`.
        minus: A score whose effect is subtracted; None for none.
        paper: For each recipe the weights of other cells, if the paper has no figures for those of `effect`.
        family: What it is tested together with: the paper's claims, or users' questions.
    """

    claim: str
    table: str
    effect: dict[str, float]
    expects: Expectation
    score: str = "miou"
    minus: str | None = None
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    family: Family = "claims"

    def published(self, table: "Table") -> dict[str, float]:
        """The paper's effect, in points, on each recipe for which it has all figures."""
        found = {}
        for recipe, figures in table.published.items() if self.score == "miou" else ():
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
        source: Its place in the paper.
        claim: The sentence of the paper that the table tests, in our words.
        reference: Name of the cell that the others are compared with.
        cells: The rows by name, in order.
        settings: For each recipe, network arguments that the paper's table had there in all rows.
        published: For each recipe, the paper's mIoU of some cells, in percent.
        multi_scale: Test scales of a second column of figures; empty for none.
        published_multi_scale: As `published`, for that column.
        claims: Claims that its cells test.
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
        """Arguments that the cells vary. A cell that leaves one of these out has the paper's value."""
        network = {name: NETWORK[name] for cell in self.cells.values() for name in cell.network}
        task = {name: TASK[name] for cell in self.cells.values() for name in cell.task}
        return [*network.values(), *task.values()]

    def cell_settings(self, cell: str) -> dict[Setting, Any]:
        """A cell's values of all arguments that the table varies, and of the recipe's keys that it changes.

        The paper's values are spelled out as well, so that a recipe with values of its own cannot change what a row means.
        Another network has none of RefineNet's.
        """
        deltas = self.cells[cell].network | self.cells[cell].task
        varied = [s for s in self.varied if self.cells[cell].network_class is None or s.argument in TASK]
        settings = {setting: deltas.get(setting.argument, setting.paper) for setting in varied}
        return settings | {recipe_setting(key): value for key, value in self.cells[cell].recipe.items()}

    def recipe_settings(self, recipe: str) -> dict[Setting, Any]:
        """Values of all rows of the paper's table on this recipe; empty if the paper has no such table."""
        return {NETWORK[name]: value for name, value in self.settings.get(recipe, {}).items()}

    def reference_among(self, cells: list[str]) -> str:
        """Name of the cell that rows are compared with if only these cells were run: the reference, or the first of them."""
        return self.reference if self.reference in cells else cells[0]

    def select(self, names: list[str] | None) -> list[Cell]:
        """The cells of these names in the table's order; all for None.

        Raises:
            TableError: There is no cell of that name.
        """
        unknown = sorted(set(names or []) - set(self.cells))
        if unknown:
            raise TableError(f"{self.name} has no cell {', '.join(unknown)}; it has {', '.join(self.cells)}")
        return [cell for cell in self.cells.values() if names is None or cell.name in names]
