"""Runs of a table and their commands."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refinenet_pl.ablation.tables import Table
from refinenet_pl.catalog import RECIPES, TABLES
from refinenet_pl.tracking.identity import RunId


@dataclass(frozen=True)
class Job:
    """A run and the arguments of its training command."""

    run: RunId
    arguments: list[str]


def plan(
    table: Table, recipe: Path, seeds: Sequence[int], cells: list[str] | None, root: str, extra: Sequence[str] = ()
) -> list[Job]:
    """Plan all runs of a table, seed by seed, so that a partially trained table has all its rows.

    Args:
        table: The table.
        recipe: File of the recipe.
        seeds: Seeds of each cell.
        cells: Names of the cells; None for all.
        root: Directory of all runs.
        extra: Additional arguments of the training command, which override all others.

    Raises:
        TableError: A cell does not exist.
    """
    jobs = []
    for seed in seeds:
        for cell in table.select(cells):
            run = RunId(recipe=recipe.stem, table=table.name, cell=cell.name, seed=seed, root=root)
            names = ["--run.cell", cell.name, "--seed_everything", str(seed)]
            jobs.append(Job(run, [*common_arguments(table, recipe, root), *names, *extra]))
    return jobs


def common_arguments(table: Table, recipe: Path, root: str) -> list[str]:
    """Arguments of the training command shared by all runs of a table."""
    return ["fit", "-c", _name(recipe, RECIPES), "--run.table", _name(table.file, TABLES), "--run.root", root]


def cell_options(table: Table, cell: str, recipe: str) -> list[str]:
    """Options of the training command that configure a run as this cell.

    Args:
        table: The table.
        cell: Name of the cell.
        recipe: Name of the recipe; the table may have settings for it.

    Raises:
        TableError: The cell does not exist.
    """
    (chosen,) = table.select([cell])
    options = [f"--model.network={chosen.network_class}"] if chosen.network_class else []
    settings = table.recipe_settings(recipe) | table.cell_settings(cell)
    options += [setting.option(value) for setting, value in settings.items()]
    if table.multi_scale:
        # Some recipes also evaluate flipped images, which this column of the table does not include.
        options += [f"--model.test_scales={table.multi_scale}".replace(" ", ""), "--model.test_flip=false"]
    return options


def shell_command(job: Job) -> str:
    """Format a job as a shell command for the current directory."""
    return shlex.join(["refinenet", *job.arguments])


def _name(path: Path, folder: Path) -> str:
    """Name of a packaged file; otherwise its path, relative to the working directory if it is inside."""
    resolved = path.resolve()
    if resolved.parent == folder:
        return path.stem
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(resolved)
