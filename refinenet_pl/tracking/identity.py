"""Names of a run and its directory."""

from dataclasses import dataclass
from pathlib import Path

from refinenet_pl.files import expand_path

# Options of a run's command line that have no effect on the training.
SIDE_OPTIONS = ("base", "track", "match_classes")

# Names of a run's checkpoints.
BEST, LAST = "best.ckpt", "last.ckpt"


@dataclass(frozen=True)
class RunId:
    """One training run: one cell of one table, on one recipe, with one seed.

    Attributes:
        recipe: Name of the recipe, which is the name of its file in experiments/recipes.
        table: Name of the ablation table that the run belongs to; `single` for a run on its own.
        cell: Name of the table's row; `default` is the recipe unchanged.
        seed: Seed of initialisation, order and augmentation.
        root: Directory that holds all runs.

    Raises:
        ValueError: A name is empty or leads out of the directory of all runs.
    """

    recipe: str
    table: str = "single"
    cell: str = "default"
    seed: int = 0
    root: str = "runs"

    def __post_init__(self):
        for option, name in ("recipe", self.recipe), ("table", self.table), ("cell", self.cell):
            parts = Path(name).parts
            if not parts or name != name.strip() or Path(name).is_absolute() or ".." in parts:
                raise ValueError(
                    f"run.{option} is {name!r}; it names a directory in the directory of all runs, so it must neither be "
                    "empty, begin or end with a blank, nor lead out of there"
                )

    @property
    def names(self) -> dict[str, str | int]:
        """What the run is called in its record, and in W&B."""
        return {"recipe": self.recipe, "table": self.table, "cell": self.cell, "seed": self.seed}

    @property
    def group(self) -> str:
        """Runs with the same group belong into one comparison."""
        return f"{self.table}@{self.recipe}"

    @property
    def name(self) -> str:
        return f"{self.cell}-seed{self.seed}"

    @property
    def directory(self) -> Path:
        return expand_path(self.root) / self.group / self.cell / f"seed{self.seed}"

    @property
    def results_file(self) -> Path:
        return self.directory / "results.json"

    def owns(self, checkpoint: Path) -> bool:
        """Whether a checkpoint is of this run, so that its scores are too."""
        return checkpoint.parent.resolve() == self.directory.resolve()
