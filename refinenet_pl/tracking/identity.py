"""Identity of a run: its names and its directory."""

from dataclasses import dataclass
from pathlib import Path

from refinenet_pl.files import expand_path

# Command-line options of a run that have no effect on the training.
SIDE_OPTIONS = ("base", "track", "match_classes", "log")

# Names of a run's checkpoints.
BEST, LAST = "best.ckpt", "last.ckpt"


@dataclass(frozen=True)
class RunId:
    """One training run: one cell of one table, on one recipe, with one seed.

    Attributes:
        recipe: Name of the recipe, the stem of its file in experiments/recipes.
        table: Name of the ablation table of the run; `single` for a run outside of tables.
        cell: Name of the table's row; `default` is the unchanged recipe.
        seed: Seed of initialization, sample order and augmentation.
        root: Directory of all runs.

    Raises:
        ValueError: A name is empty or points outside the directory of all runs.
    """

    recipe: str
    table: str = "single"
    cell: str = "default"
    seed: int = 0
    root: str = "runs"

    def __post_init__(self) -> None:
        for option, name in ("recipe", self.recipe), ("table", self.table), ("cell", self.cell):
            parts = Path(name).parts
            if not parts or name != name.strip() or Path(name).is_absolute() or ".." in parts:
                raise ValueError(
                    f"run.{option} is {name!r}; it names a directory in the directory of all runs, so it must not be empty, "
                    "begin or end with a space, or point outside that directory"
                )

    @property
    def names(self) -> dict[str, str | int]:
        """Names of the run in its record and in W&B."""
        return {"recipe": self.recipe, "table": self.table, "cell": self.cell, "seed": self.seed}

    @property
    def group(self) -> str:
        """Group of runs that are compared with each other."""
        return f"{self.table}@{self.recipe}"

    @property
    def name(self) -> str:
        """Name of the run within its group."""
        return f"{self.cell}-seed{self.seed}"

    @property
    def directory(self) -> Path:
        """Directory of the run."""
        return expand_path(self.root) / self.group / self.cell / f"seed{self.seed}"

    @property
    def results_file(self) -> Path:
        """Record of the run, which exists once it is finished."""
        return self.directory / "results.json"

    def owns(self, checkpoint: Path) -> bool:
        """Test if a checkpoint is in the run's directory."""
        return checkpoint.parent.resolve() == self.directory.resolve()
