"""The runs behind a table and their commands."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refinenet_pl.ablation.tables import Table
from refinenet_pl.tracking.identity import RunId


@dataclass(frozen=True)
class Job:
    """One run and the arguments of the training command that makes it."""

    run: RunId
    arguments: list[str]


def plan(
    table: Table, recipe: Path, seeds: Sequence[int], cells: list[str] | None, root: str, extra: Sequence[str] = ()
) -> list[Job]:
    """All runs of a table, seed by seed, so that a table that was stopped half-way has all its rows.

    Args:
        table: The table.
        recipe: File of the recipe.
        seeds: Seeds of each cell.
        cells: Names of the cells; None for all.
        root: Directory of all runs.
        extra: Further arguments for the training command; they come last and so win.
    """
    jobs = []
    for seed in seeds:
        for cell in table.select(cells):
            run = RunId(recipe=recipe.stem, table=table.name, cell=cell.name, seed=seed, root=root)
            settings = table.recipe_settings(recipe.stem) | table.cell_settings(cell.name)
            arguments = [
                "fit",
                "-c",
                _short(recipe),
                "--run.recipe",
                run.recipe,
                "--run.table",
                run.table,
                "--run.cell",
                run.cell,
                "--run.root",
                root,
            ]
            arguments += ["--seed_everything", str(seed)]
            arguments += [f"--model.network={cell.network_class}"] if cell.network_class else []
            arguments += [setting.option(value) for setting, value in settings.items()]
            if table.multi_scale:
                # Mirrored too, as some recipes test, would be another column than the one that the table prints.
                arguments += [f"--model.test_scales={table.multi_scale}".replace(" ", ""), "--model.test_flip=false"]
            jobs.append(Job(run, [*arguments, *extra]))
    return jobs


def shell_command(job: Job) -> str:
    """The job as one line for a shell, to be started in the current directory."""
    return shlex.join(["python", "-m", "refinenet_pl", *job.arguments])


def _short(path: Path) -> str:
    """Relative to the working directory where the file lies below it."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(resolved)
