"""Collection of groups of runs, with their figures and sample images, for the HTML report."""

from dataclasses import dataclass
from pathlib import Path

from refinenet_pl.ablation.comparison import get
from refinenet_pl.ablation.figures import Report, Row, build_report
from refinenet_pl.ablation.records import RecordError, find_seeds
from refinenet_pl.ablation.scores import shown
from refinenet_pl.ablation.table import Table
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_table, names
from refinenet_pl.metrics.registry import KINDS
from refinenet_pl.metrics.score import Score, ScoreSet
from refinenet_pl.report.free_table import free_table
from refinenet_pl.tracking.identity import RunId

IMAGE, LABEL, PREDICTION, ERROR = "-image.jpg", "-label.png", "-prediction.png", "-error.png"


@dataclass(frozen=True)
class Group:
    """Runs of one table on one recipe.

    Attributes:
        report: Figures of the table.
        root: Directory of all runs.
    """

    report: Report
    root: Path

    @property
    def name(self) -> str:
        """TABLE@RECIPE."""
        return f"{self.report.table.name}@{self.report.recipe}"

    @property
    def kind(self) -> type[ScoreSet]:
        """Class of the scores of the runs."""
        return next(kind for kind in KINDS if kind.SCORES[0] == self.report.primary)

    @property
    def classes(self) -> list[str]:
        """Class names in the dataset's order."""
        found = (get(record, "evaluations", self.report.split, "iou") for record in self.report.records)
        return list(next(filter(None, found), {}))

    def mean(self, row: Row, score: Score) -> float | None:
        """Mean of a score over seeds, as it is shown; None if no run has one."""
        values = [shown(record, self.report.split, score) for record in row.records.values()]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    def iou(self, row: Row, name: str) -> float | None:
        """Mean IoU of a class over seeds, in percent; None if no run has one."""
        values = [get(record, "evaluations", self.report.split, "iou", name) for record in row.records.values()]
        values = [100 * value for value in values if value is not None]
        return sum(values) / len(values) if values else None

    def curves(self, row: Row) -> list[list[tuple[int, float]]]:
        """Primary score on val during training, as it is shown: a list of (epoch, score) for each seed."""
        name, factor = self.report.primary.name, self.report.primary.factor
        return [
            [(point["epoch"], factor * point[name]) for point in record["curve"] if point.get(name) is not None]
            for record in row.records.values()
            if record.get("curve")
        ]

    def samples(self, row: Row) -> dict[str, Path]:
        """Sample images of the row's first seed that has any: paths without their suffixes, by name."""
        for seed in row.records:
            run = RunId(self.report.recipe, self.report.table.name, row.cell.name, seed, str(self.root))
            found = sorted((run.directory / "samples").glob(f"*{PREDICTION}"))
            if found:
                stems = [path.with_name(path.name.removesuffix(PREDICTION)) for path in found]
                return {stem.name: stem for stem in stems}
        return {}


def images_per_second(row: Row) -> float | None:
    """Mean training speed over seeds in images per second, including validation; None if it is not recorded."""
    speeds = []
    for record in row.records.values():
        steps, seconds = get(record, "training", "steps"), get(record, "training", "seconds")
        batch = get(record, "config", "data", "global_batch")
        if steps and seconds and batch:
            speeds.append(steps * batch / seconds)
    return sum(speeds) / len(speeds) if speeds else None


def collect(directory: Path, tables: list[str], split: str) -> list[Group]:
    """Read all groups of runs.

    Args:
        directory: Directory of all runs, or of one group (`TABLE@RECIPE`).
        tables: Table files outside the package.
        split: Name of the evaluation to report.

    Raises:
        RecordError: There are no runs, or a record cannot be read.
        TableError: A table cannot be read.
        CatalogError: A table file does not exist.
    """
    known = {Path(file).stem: file for file in tables}
    is_group = "@" in directory.resolve().name
    folders = [directory.resolve()] if is_group else sorted(path for path in directory.glob("*@*") if path.is_dir())
    groups = []
    for folder in folders:
        name, _, recipe = folder.name.partition("@")
        table = _table(known.get(name, name), folder, split)
        if table is not None:
            seeds = find_seeds(table, recipe, str(folder.parent))
            groups.append(Group(build_report(table, recipe, str(folder.parent), seeds, split=split), folder.parent))
    if not groups:
        raise RecordError(f"{directory}: no runs; name a directory TABLE@RECIPE, or one that contains such directories")
    return groups


def _table(name: str, folder: Path, split: str) -> Table | None:
    """Table with this name or file, otherwise one of the runs found; None if there are none."""
    if name in names(TABLES) or name.endswith((".yaml", ".yml")):
        return read_table(find_table(name))
    return free_table(folder, split)
