"""What a directory of runs has for a page: groups of runs, their figures and their sample pictures."""

from dataclasses import dataclass
from pathlib import Path

from refinenet_pl.ablation.comparison import get
from refinenet_pl.ablation.records import RecordError, Report, Row, build_report, find_seeds
from refinenet_pl.ablation.tables import Cell, Table, TableError, read_table
from refinenet_pl.catalog import find_table
from refinenet_pl.tracking.identity import RunId

PICTURE, LABEL, PREDICTION = "-picture.jpg", "-label.png", "-prediction.png"


@dataclass(frozen=True)
class Group:
    """The runs of one table on one recipe.

    Attributes:
        report: The figures.
        root: Directory of all runs.
    """

    report: Report
    root: Path

    @property
    def name(self) -> str:
        return f"{self.report.table.name}@{self.report.recipe}"

    @property
    def classes(self) -> list[str]:
        """The classes' names in the data set's order."""
        found = (get(record, "evaluations", self.report.split, "iou") for record in self.report.records)
        return list(next(filter(None, found), {}))

    def iou(self, row: Row, name: str) -> float | None:
        """A class's IoU in per cent, the mean over seeds; None where no run has one."""
        values = [get(record, "evaluations", self.report.split, "iou", name) for record in row.records.values()]
        values = [100 * value for value in values if value is not None]
        return sum(values) / len(values) if values else None

    def curves(self, row: Row) -> list[list[tuple[int, float]]]:
        """For each seed (epoch, mIoU on val in per cent), as it was scored while training."""
        return [
            [(point["epoch"], 100 * point["miou"]) for point in record["curve"] if point["miou"] is not None]
            for record in row.records.values()
            if record.get("curve")
        ]

    def samples(self, row: Row) -> dict[str, Path]:
        """The sample pictures' stems by name, of the row's first seed that has any."""
        for seed in row.records:
            run = RunId(self.report.recipe, self.report.table.name, row.cell.name, seed, str(self.root))
            found = sorted((run.directory / "samples").glob(f"*{PREDICTION}"))
            if found:
                stems = [path.with_name(path.name.removesuffix(PREDICTION)) for path in found]
                return {stem.name: stem for stem in stems}
        return {}


def pictures_per_second(row: Row) -> float | None:
    """Training speed, validations included: the mean over seeds of pictures seen by time."""
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
        directory: Of all runs, or of one group (`TABLE@RECIPE`).
        tables: Files of tables that are not in experiments/tables.
        split: The evaluation that is reported.

    Raises:
        RecordError: There are no runs, or a record cannot be read.
        TableError: A table cannot be read.
    """
    known = {Path(file).stem: file for file in tables}
    is_group = "@" in directory.resolve().name
    folders = [directory.resolve()] if is_group else sorted(path for path in directory.glob("*@*") if path.is_dir())
    groups = []
    for folder in folders:
        name, _, recipe = folder.name.partition("@")
        table = _table(known.get(name, name), folder)
        if table is not None:
            seeds = find_seeds(table, recipe, str(folder.parent))
            groups.append(Group(build_report(table, recipe, str(folder.parent), seeds, split=split), folder.parent))
    if not groups:
        raise RecordError(f"{directory}: no runs there; it must hold directories named TABLE@RECIPE, as `runs` does, or be one")
    return groups


def _table(name: str, folder: Path) -> Table | None:
    """The table of that name, or one of the runs as they are; None where the directory holds no runs."""
    try:
        file = find_table(name)
    except TableError:
        if name.endswith((".yaml", ".yml")):  # one that was asked for
            raise
    else:
        return read_table(file)
    cells = {path.name: Cell(path.name, path.name) for path in sorted(folder.iterdir()) if any(path.glob("seed*"))}
    if not cells:
        return None
    reference = "paper" if "paper" in cells else next(iter(cells))
    return Table(name, f"Runs of {name}", "none of the paper's", "These runs belong to no table.", reference, cells)
