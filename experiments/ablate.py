#!/usr/bin/env python
"""Ablation tables of RefineNet: cells x seeds -> runs -> the table."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.ablation.jobs import RECIPES, find_recipe, plan, shell_command  # noqa: E402
from experiments.ablation.records import RecordError, build_report, find_seeds  # noqa: E402
from experiments.ablation.report import FORMATS, notes, render, write  # noqa: E402
from experiments.ablation.runs import Runner  # noqa: E402
from experiments.ablation.tables import TABLES, TableError, find_table, read_table  # noqa: E402

EXAMPLES = """\
examples:
  python experiments/ablate.py list                      the tables and recipes
  python experiments/ablate.py list cascade              one table: its claim and its cells
  python experiments/ablate.py run cascade --on scenes --seeds 2
  python experiments/ablate.py run cascade --on scenes --seeds 2 --cells cascade_1 cascade_4 -- --trainer.max_epochs=5
  python experiments/ablate.py commands cascade --on nyudv2 --seeds 3 > runs.sh      to run them elsewhere
  python experiments/ablate.py table cascade --on nyudv2 --split test --format latex

Runs that have finished are never repeated; a run that was stopped goes on from its last checkpoint. What stands behind `--`
goes to each run's training command. Runs with other such arguments belong under another --root.
"""


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = main.add_subparsers(dest="command", required=True, metavar="list | commands | run | table")
    listing = commands.add_parser("list", help="show the tables and recipes, or one table's cells")
    listing.add_argument("table", nargs="?", metavar="TABLE", help="show this table's claim and cells")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("table", metavar="TABLE", help="a name in experiments/tables, or a YAML file")
    common.add_argument("--on", required=True, metavar="RECIPE", help="a name in experiments/recipes, or a YAML file")
    common.add_argument("--cells", nargs="+", metavar="CELL", help="only these rows")
    common.add_argument("--root", default="runs", help="directory of all runs (default: runs)")
    seeds = argparse.ArgumentParser(add_help=False)
    seeds.add_argument("--seeds", type=_positive, required=True, metavar="N", help="seeds 0 to N-1 of each cell")
    shown = argparse.ArgumentParser(add_help=False)
    shown.add_argument("--split", default="val", help="the evaluation to report (default: val)")
    shown.add_argument("--reference", metavar="CELL", help="compare with this cell instead of the table's own reference")

    commands.add_parser("commands", parents=[common, seeds], help="print one shell command for each run")
    run = commands.add_parser("run", parents=[common, seeds, shown], help="run what is missing, then print and write the table")
    run.add_argument(
        "--slots", type=_positive, default=1, metavar="N",
        help="runs at a time (default: 1); they share the CPU cores and the GPUs listed in CUDA_VISIBLE_DEVICES",
    )  # fmt: skip
    run.add_argument("--output", metavar="DIR", help="where the table's files go (default: ROOT/TABLE@RECIPE)")
    table = commands.add_parser("table", parents=[common, shown], help="print the table of the runs there are")
    table.add_argument("--seeds", type=_positive, metavar="N", help="expect seeds 0 to N-1 (default: those found)")
    table.add_argument("--format", choices=FORMATS, default="markdown")
    table.add_argument("--output", metavar="DIR", help="also write TABLE@RECIPE.md, .csv and .png into this directory")
    return main


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def show_list(name: str | None) -> None:
    if name is not None:
        table = read_table(find_table(name))
        print(f"{table.title}\n{table.source}\n\n{table.claim}\n")
        for cell in table.cells.values():
            changes = ", ".join(f"{key}={value}" for key, value in (cell.network | cell.task).items())
            mark = "  (reference)" if cell.name == table.reference else ""
            print(f"  {cell.name:30} {cell.label}{mark}\n  {'':30} {changes or 'as in the paper'}")
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
    report = build_report(table, recipe, options.root, seeds, options.cells, options.split, options.reference)
    print(render(report, form), end="")
    if form == "csv":
        for text in notes(report):
            print(text, file=sys.stderr)
    if output:
        print("Written: " + ", ".join(map(str, write(report, output))), file=sys.stderr)


def run(options: argparse.Namespace, extra: list[str], command_prefix: list[str] | None = None) -> int:
    table, recipe = read_table(find_table(options.table)), find_recipe(options.on)
    seeds = list(range(options.seeds))
    if options.reference is not None:
        table.select([options.reference])  # better now than after hours of training
    jobs = plan(table, recipe, seeds, options.cells, options.root, extra)
    runner = Runner(options.slots, command_prefix) if command_prefix else Runner(options.slots)
    outcome = runner(jobs)
    if outcome.stopped:
        print("Stopped. What has finished is kept; start the same command again to go on.", file=sys.stderr)
        return 130
    group = jobs[0].run.group
    print()
    show_table(options, seeds, options.output or str(Path(options.root) / group))
    for name, runs in (("Failed", outcome.failed), ("Left to another process", outcome.elsewhere)):
        if runs:
            print(f"{name}: {', '.join(str(run.directory) for run in runs)}", file=sys.stderr)
    return 1 if outcome.failed or outcome.elsewhere else 0


def main(arguments: list[str] | None = None, command_prefix: list[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        arguments: The command line's words; None for the process's own.
        command_prefix: The training program, for tests; None for `python -m refinenet_pl`.

    Returns:
        The exit code: 0, 1 when a run failed, 2 for an unusable table, recipe or record, 130 when stopped.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    at = arguments.index("--") if "--" in arguments else len(arguments)
    own, extra = arguments[:at], arguments[at + 1 :]
    options = parser().parse_args(own)
    if extra and options.command in ("list", "table"):
        parser().error(f"{options.command} starts no run, so it takes nothing behind --")
    try:
        if options.command == "list":
            show_list(options.table)
        elif options.command == "commands":
            table, recipe = read_table(find_table(options.table)), find_recipe(options.on)
            for job in plan(table, recipe, range(options.seeds), options.cells, options.root, extra):
                print(shell_command(job))
        elif options.command == "run":
            return run(options, extra, command_prefix)
        else:
            table = read_table(find_table(options.table))
            seeds = list(range(options.seeds)) if options.seeds else find_seeds(table, Path(options.on).stem, options.root)
            show_table(options, seeds, options.output, options.format)
    except (TableError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
