"""`ablate`: trains and prints ablation tables."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from refinenet_pl.ablation import slurm
from refinenet_pl.ablation.devices import Placement, PlacementError
from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.local import Runner
from refinenet_pl.ablation.plan import Job, plan, shell_command
from refinenet_pl.ablation.records import RecordError, find_seeds
from refinenet_pl.ablation.rendering import notes, render, write
from refinenet_pl.ablation.status import show_status, state_of
from refinenet_pl.ablation.sweep import sweep_file
from refinenet_pl.ablation.tables import TableError, read_table
from refinenet_pl.catalog import RECIPES, TABLES, find_recipe, find_table, names
from refinenet_pl.cli.ablate_options import parse
from refinenet_pl.cli.recipe_facts import configuration_of, primary_score_of
from refinenet_pl.errors import CatalogError, DataError
from refinenet_pl.files import expand_path
from refinenet_pl.metrics.registry import SCORES


def main(arguments: list[str]) -> None:
    """Run the command and exit with its exit code; `arguments` begins with `ablate`."""
    sys.exit(run_command(arguments[1:]))


def run_command(words: list[str], command_prefix: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        words: Arguments after `refinenet ablate`.
        command_prefix: Training command, for tests; None for `python -m refinenet_pl`.

    Returns:
        The exit code: 0 for success; 1 if a run failed or was interrupted (for `status`: if not all runs are done); 2 for an
        invalid table, recipe, record or engine; 130 if this command was interrupted.
    """
    at = words.index("--") if "--" in words else len(words)
    own, extra = words[:at], words[at + 1 :]
    parsed = parse(own)
    options = parsed[parsed.command]
    try:
        if extra and parsed.command not in ("run", "commands"):
            raise CatalogError(f"{parsed.command} does not train, so it accepts no options after --; remove them")
        for name in "root", "output":
            if options.get(name) is not None:
                options[name] = str(expand_path(options[name], CatalogError))
        if parsed.command == "run":
            return _run(options, extra, command_prefix)
        if parsed.command == "status":
            return show_status(_plan(options, []))
        _COMMANDS[parsed.command](options, extra)
    except (CatalogError, DataError, TableError, RecordError, PlacementError, slurm.SlurmError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _list(options: Namespace, extra: list[str]) -> None:
    if options.table is None:
        print("Tables:")
        for name in names(TABLES):
            table = read_table(find_table(name))
            print(f"  {table.name:28} {len(table.cells):2} cells  {table.title}\n  {'':28}           {table.source}")
        print(f"\nRecipes: {', '.join(names(RECIPES)) or 'none'}\n\nOne table's cells: refinenet ablate list TABLE")
        return
    table = read_table(find_table(options.table))
    print(f"{table.title}\n{table.source}\n\n{table.claim}\n")
    for cell in table.cells.values():
        changes = ", ".join(f"{key}={value}" for key, value in (cell.network | cell.task | cell.recipe).items())
        mark = "  (reference)" if cell.name == table.reference else ""
        unchanged = "as in the paper" if table.varied else "as in the recipe"
        print(f"  {cell.name:30} {cell.label}{mark}")
        print(f"  {'':30} {', '.join(filter(None, [cell.network_class, changes])) or unchanged}")
    print(f"\nRecipes with scores in the paper: {', '.join(table.published) or 'none'}")


def _table(options: Namespace, extra: list[str], seeds: list[int] | None = None) -> None:
    table, recipe = read_table(find_table(options.table)), Path(options.on).stem
    if seeds is None:
        seeds = list(range(options.seeds)) if options.seeds else find_seeds(table, recipe, options.root)
    report = build_report(table, recipe, options.root, seeds, options.cells, options.split, options.reference, options.score)
    form = options.get("format") or "markdown"
    print(render(report, form), end="")
    if form == "csv":
        print(*notes(report), sep="\n", file=sys.stderr)
    if options.output:
        print("Written: " + ", ".join(map(str, write(report, options.output))), file=sys.stderr)


def _keep(options: Namespace, extra: list[str]) -> None:
    from refinenet_pl.ablation.keep import keep

    table = read_table(find_table(options.table))
    print(f"Written: {keep(Path(options.root), f'{table.name}@{Path(options.on).stem}', Path(options.output))}")


def _commands(options: Namespace, extra: list[str]) -> None:
    print(*map(shell_command, _plan(options, extra)), sep="\n")


def _sweep(options: Namespace, extra: list[str]) -> None:
    table, recipe = read_table(find_table(options.table)), find_recipe(options.on)
    seeds = list(range(options.seeds))
    print(sweep_file(table, recipe, seeds, options.cells, options.root, options.processes, primary_score_of(recipe)), end="")


def _check_score(name: str | None, recipe: Path, extra: list[str]) -> None:
    """Check before training that runs will have a score; raises a CatalogError otherwise."""
    given = [*(f"--{key}" for key in configuration_of(recipe)), *extra]
    if not (name is None or name in SCORES or any(option.startswith("--model.metrics") and name in option for option in given)):
        raise CatalogError(f"--score {name}: is neither built in nor in model.metrics of {recipe}; use {', '.join(SCORES)}")


_COMMANDS = {"list": _list, "table": _table, "keep": _keep, "commands": _commands, "sweep": _sweep}


def _plan(options: Namespace, extra: list[str]) -> list[Job]:
    table, recipe = read_table(find_table(options.table)), find_recipe(options.on)
    return plan(table, recipe, range(options.seeds), options.cells, options.root, extra)


def _run(options: Namespace, extra: list[str], command_prefix: Sequence[str] | None) -> int:
    if options.reference is not None:
        read_table(find_table(options.table)).select([options.reference])  # fails before training rather than after
    _check_score(options.score, find_recipe(options.on), extra)
    if options.engine == "slurm":
        return _submit(options, extra)
    placement = Placement(options.slots or 1, options.gpus_per_run, options.processes_per_run)
    placement.check()
    jobs = _plan(options, [*placement.arguments, *extra])
    outcome = (Runner(placement, command_prefix) if command_prefix else Runner(placement))(jobs)
    if outcome.stopped:
        print("Stopped. Progress is saved; run the same command again to resume.", file=sys.stderr)
        return 130
    print()
    options.output = options.output or str(Path(options.root) / jobs[0].run.group)
    _table(options, [], list(range(options.seeds)))
    for problem, runs in ("Failed", outcome.failed), ("Interrupted, run again to resume", outcome.interrupted):
        if runs:
            print(f"{problem}: {', '.join(str(run.directory) for run in runs)}", file=sys.stderr)
    return 1 if outcome.failed or outcome.interrupted else 0


def _submit(options: Namespace, extra: list[str]) -> int:
    more = {key: options[key] for key in ("partition", "account") if options[key]}
    more |= dict(option.split("=", 1) for option in options.slurm or [])
    given = {
        "gpus": options.gpus_per_run, "processes": options.processes_per_run, "nodes": options.nodes,
        "minutes": options.minutes, "cpus": options.cpus_per_process, "parallel": options.parallel,
    }  # fmt: skip
    request = slurm.Request(**{name: value for name, value in given.items() if value is not None}, more=more)
    jobs = _plan(options, [f"--trainer.accelerator={'gpu' if options.gpus_per_run else 'cpu'}", *extra])
    queue = slurm.queue(jobs)
    missing = [job for job in jobs if state_of(job.run, queue)[0] not in ("done", "diverged", "running", "pending")]
    if not missing:
        print("Nothing to submit: all runs are done, running or queued.")
        return 0
    folder = Path(options.root) / jobs[0].run.group / "slurm"
    number = slurm.submit(missing, request, folder)
    cells = ["--cells", *options.cells] if options.cells else []
    common = shlex.join([options.table, "--on", options.on, "--root", options.root, *cells])
    print(
        f"Submitted {len(missing)} of {len(jobs)} runs as job {number}.\n"
        f"Each run writes log.txt in its directory; the logs of Slurm are in {folder}.\n"
        f"  refinenet ablate status {common} --seeds {options.seeds}\n"
        f"  refinenet ablate table {common}\n"
        f"  scancel {number}"
    )
    return 0
