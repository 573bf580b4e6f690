#!/usr/bin/env python
"""Ablation tables of RefineNet: cells x seeds -> runs -> the table."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from refinenet_pl.ablation import slurm
from refinenet_pl.ablation.devices import Placement, PlacementError
from refinenet_pl.ablation.local import Runner
from refinenet_pl.ablation.plan import Job, plan, shell_command
from refinenet_pl.ablation.records import RecordError, build_report, find_seeds
from refinenet_pl.ablation.rendering import notes, render, write
from refinenet_pl.ablation.status import show_status, state_of
from refinenet_pl.ablation.sweep import sweep_file
from refinenet_pl.ablation.tables import TableError, read_table
from refinenet_pl.catalog import RECIPES, TABLES, find_recipe, find_table
from refinenet_pl.cli.ablate_options import parser, refuse_other_engines
from refinenet_pl.errors import CatalogError


def show_list(name: str | None) -> None:
    if name is not None:
        table = read_table(find_table(name))
        print(f"{table.title}\n{table.source}\n\n{table.claim}\n")
        for cell in table.cells.values():
            changes = ", ".join(f"{key}={value}" for key, value in (cell.network | cell.task | cell.recipe).items())
            mark = "  (reference)" if cell.name == table.reference else ""
            what = ", ".join(filter(None, [cell.network_class, changes])) or (
                "as in the paper" if table.varied else "as in the recipe"
            )
            print(f"  {cell.name:30} {cell.label}{mark}\n  {'':30} {what}")
        print(f"\nPaper's figures for the recipes: {', '.join(table.published) or 'none'}")
        return
    print("Tables:")
    for path in sorted(TABLES.glob("*.yaml")):
        table = read_table(path)
        print(f"  {table.name:28} {len(table.cells):2} cells  {table.title}\n  {'':28}           {table.source}")
    recipes = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    print(f"\nRecipes: {', '.join(recipes) or 'none'}\n\nOne table's cells: python experiments/ablate.py list TABLE")


def show_table(options: argparse.Namespace, seeds: list[int], output: str | None, form: str = "markdown") -> None:
    table = read_table(find_table(options.table))
    recipe = Path(options.on).stem
    report = build_report(table, recipe, options.root, seeds, options.cells, options.split, options.reference, options.score)
    print(render(report, form), end="")
    if form == "csv":
        for text in notes(report):
            print(text, file=sys.stderr)
    if output:
        print("Written: " + ", ".join(map(str, write(report, output))), file=sys.stderr)


def plan_runs(options: argparse.Namespace, extra: list[str]) -> list[Job]:
    table, recipe = read_table(find_table(options.table)), find_recipe(options.on)
    return plan(table, recipe, range(options.seeds), options.cells, options.root, extra)


def run(options: argparse.Namespace, extra: list[str], command_prefix: list[str] | None) -> int:
    if options.reference is not None:
        read_table(find_table(options.table)).select([options.reference])  # better now than after hours of training
    refuse_other_engines(options)
    if options.engine == "slurm":
        return submit(options, extra)
    placement = Placement(options.slots or 1, options.gpus_per_run, options.processes_per_run)
    placement.check()
    jobs = plan_runs(options, [*placement.arguments, *extra])
    runner = Runner(placement, command_prefix) if command_prefix else Runner(placement)
    outcome = runner(jobs)
    if outcome.stopped:
        print("Stopped. What was trained is kept; start the same command again to go on.", file=sys.stderr)
        return 130
    print()
    show_table(options, list(range(options.seeds)), options.output or str(Path(options.root) / jobs[0].run.group))
    for what, runs in ("Failed", outcome.failed), ("Told to stop, start this again to go on", outcome.told_to_stop):
        if runs:
            print(f"{what}: {', '.join(str(run.directory) for run in runs)}", file=sys.stderr)
    return 1 if outcome.failed or outcome.told_to_stop else 0


def submit(options: argparse.Namespace, extra: list[str]) -> int:
    more = {key: value for key in ("partition", "account") if (value := getattr(options, key))} | dict(options.slurm or [])
    given = {
        "gpus": options.gpus_per_run, "processes": options.processes_per_run, "nodes": options.nodes,
        "minutes": options.minutes, "cpus": options.cpus_per_process, "parallel": options.parallel,
    }  # fmt: skip
    request = slurm.Request(**{name: value for name, value in given.items() if value is not None}, more=more)
    jobs = plan_runs(options, [f"--trainer.accelerator={'gpu' if options.gpus_per_run else 'cpu'}", *extra])
    queue = slurm.queue(jobs)
    missing = [job for job in jobs if state_of(job.run, queue)[0] not in ("done", "diverged", "running", "pending")]
    if not missing:
        print("Nothing to submit: all runs are done, running or in the queue.")
        return 0
    folder = Path(options.root) / jobs[0].run.group / "slurm"
    number = slurm.submit(missing, request, folder)
    cells = ["--cells", *options.cells] if options.cells else []
    common = shlex.join([options.table, "--on", options.on, "--root", options.root, *cells])
    print(
        f"Submitted {len(missing)} of {len(jobs)} runs as job {number}.\n"
        f"Each one's log is log.txt in its directory; Slurm's own are in {folder}.\n"
        f"  python experiments/ablate.py status {common} --seeds {options.seeds}\n"
        f"  python experiments/ablate.py table {common}\n"
        f"  scancel {number}"
    )
    return 0


def train(options: argparse.Namespace, extra: list[str]) -> None:
    """Become the training process of one run; the environment stays, so that launchers find their ranks."""
    table, recipe = read_table(find_table(options.table)), find_recipe(options.on)
    (job,) = plan(table, recipe, [options.seed], [options.cell], options.root, extra)
    environment = Placement().environment(0)
    os.execve(sys.executable, [sys.executable, "-m", "refinenet_pl", *job.arguments], environment)


def main(arguments: list[str] | None = None, command_prefix: list[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        arguments: The command line's words; None for the process's own.
        command_prefix: The training program, for tests; None for `python -m refinenet_pl`.

    Returns:
        The exit code: 0, 1 when a run failed or was stopped (of `status`: when not all are done), 2 for an unusable table,
        recipe, record or engine, 130 when stopped.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    at = arguments.index("--") if "--" in arguments else len(arguments)
    own, extra = arguments[:at], arguments[at + 1 :]
    options, unknown = parser(__doc__).parse_known_args(own)
    if unknown:
        cure = "; options of the training come last, behind --" if options.command in ("run", "commands", "train") else ""
        parser(__doc__).error(f"unrecognized arguments: {' '.join(unknown)}{cure}")
    if extra and options.command in ("list", "table", "status", "sweep"):
        parser(__doc__).error(f"{options.command} starts no run, so it takes nothing behind --")
    try:
        if options.command == "list":
            show_list(options.table)
        elif options.command == "commands":
            for job in plan_runs(options, extra):
                print(shell_command(job))
        elif options.command == "run":
            return run(options, extra, command_prefix)
        elif options.command == "status":
            return show_status(plan_runs(options, []))
        elif options.command == "sweep":
            table, _ = read_table(find_table(options.table)), find_recipe(options.on)
            seeds = list(range(options.seeds))
            print(sweep_file(table, options.table, options.on, seeds, options.cells, options.root, options.processes), end="")
        elif options.command == "train":
            train(options, extra)
        else:
            table = read_table(find_table(options.table))
            seeds = list(range(options.seeds)) if options.seeds else find_seeds(table, Path(options.on).stem, options.root)
            show_table(options, seeds, options.output, options.format)
    except (CatalogError, TableError, RecordError, PlacementError, slurm.SlurmError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whatever reads the output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


if __name__ == "__main__":
    sys.exit(main())
