"""Options of `refinenet ablate`."""

import argparse
from collections.abc import Sequence

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from refinenet_pl.ablation.rendering import FORMATS
from refinenet_pl.ablation.table import SCORES

EXAMPLES = """\
examples:
  refinenet ablate list                      the tables and recipes
  refinenet ablate list cascade              one table: its claim and its cells
  refinenet ablate run cascade --on scenes --seeds 2
  refinenet ablate run cascade --on scenes --seeds 2 --cells cascade_1 cascade_4 -- --trainer.max_epochs=5
  refinenet ablate run cascade --on nyudv2 --seeds 3 --slots 2 --gpus_per_run 4
  refinenet ablate run cascade --on nyudv2 --seeds 3 --engine slurm --gpus_per_run 4 --partition gpu
  refinenet ablate status cascade --on nyudv2 --seeds 3
  refinenet ablate sweep cascade --on nyudv2 --seeds 3 --processes 4 > sweep.yaml
  refinenet ablate commands cascade --on nyudv2 --seeds 3 > runs.sh      to run them elsewhere
  refinenet ablate table cascade --on nyudv2 --split test --format latex
  refinenet report runs -o report.html       all tables as one page

Finished runs are never repeated; a run that was stopped resumes. Options after `--` go to each run's training command. Runs
with other such options belong under another --root.
"""
# Options of one engine, with their value if they are not given.
_ENGINES = {
    "local": ("slots",),
    "slurm": ("nodes", "minutes", "cpus_per_process", "parallel", "partition", "account", "slurm"),
}


def parse(words: Sequence[str]) -> Namespace:
    """Read a command line; ends the process with a message if it is wrong.

    Args:
        words: Words after `refinenet ablate`, without those of the training.

    Returns:
        `command`, and the command's options under its name.
    """
    parser = _parser()
    try:
        options = parser.parse_args(list(words))
    except argparse.ArgumentError as error:
        training = words[:1] and words[0] in ("run", "commands") and "unrecognized arguments" in str(error).lower()
        cure = "; options of the training come last, after --" if training else ""
        parser.exit(2, f"error: {error}{cure}\n")
    if options.command == "run":
        for engine, names in _ENGINES.items():
            given = [name for name in names if engine != options.run.engine and options.run[name] is not None]
            if given:
                parser.exit(2, f"error: --{given[0]} is for --engine {engine}\n")
    return options


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="refinenet ablate", description="Ablation tables of RefineNet: cells x seeds -> runs -> the table.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, exit_on_error=False,
    )  # fmt: skip
    commands = parser.add_subcommands(dest="command")

    def command(name: str, words: str, *parts) -> ArgumentParser:
        sub = ArgumentParser(description=words, exit_on_error=False)
        for part in parts:
            part(sub)
        commands.add_subcommand(name, sub, help=words)
        return sub

    listing = command("list", "show the tables and recipes, or the claim and cells of one table")
    listing.add_argument("table", nargs="?", metavar="TABLE", help="name of a table, or a YAML file")
    run = command("run", "run what is missing, then print and write the table", _group, _cells, _seeds, _shown)
    _add_engines(run)
    run.add_argument(
        "--output", type=str | None, metavar="DIR", help="directory of the table's files; ROOT/TABLE@RECIPE without it"
    )
    words = "a line for each run: done, running, pending, stopped, failed, not started; exit code 0 if all are done"
    command("status", words, _group, _cells, _seeds)
    table = command("table", "print the table of the runs there are", _group, _cells, _shown)
    table.add_argument("--seeds", type=PositiveInt | None, metavar="N", help="expect seeds 0 to N-1; those found without it")
    table.add_argument("--format", choices=FORMATS, default="markdown")
    words = "also write TABLE@RECIPE.md, .csv and .png into this directory"
    table.add_argument("--output", type=str | None, metavar="DIR", help=words)
    keep = command("keep", "pack the finished runs of a table into one file, TABLE@RECIPE/records.jsonl", _group)
    keep.add_argument("--output", required=True, metavar="DIR", help="directory of kept results, which tables read as --root")
    command("commands", "print one shell command for each run", _group, _cells, _seeds)
    sweep = command("sweep", "print the file for `wandb sweep`", _group, _cells, _seeds)
    sweep.add_argument("--processes", type=PositiveInt, default=1, metavar="N", help="processes of a run, one per GPU")
    return parser


def _group(parser: ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help="name of a table, or a YAML file")
    parser.add_argument("--on", required=True, metavar="RECIPE", help="name of a recipe, or a YAML file")
    parser.add_argument("--root", default="runs", help="directory of all runs")


def _cells(parser: ArgumentParser) -> None:
    parser.add_argument("--cells", nargs="+", metavar="CELL", help="only these rows")


def _seeds(parser: ArgumentParser) -> None:
    parser.add_argument("--seeds", type=PositiveInt, required=True, metavar="N", help="seeds 0 to N-1 of each cell")


def _shown(parser: ArgumentParser) -> None:
    parser.add_argument("--split", default="val", help="the evaluation to report")
    parser.add_argument("--score", choices=SCORES, default="miou", help="mIoU, or mIoU of the pixels along borders")
    words = "compare with this cell instead of the table's own reference"
    parser.add_argument("--reference", type=str | None, metavar="CELL", help=words)


def _add_engines(run: ArgumentParser) -> None:
    run.add_argument("--engine", choices=("local", "slurm"), default="local", help="this machine, or a Slurm cluster")
    processes = run.add_mutually_exclusive_group()
    number = {"type": PositiveInt | None, "metavar": "N"}
    processes.add_argument("--gpus_per_run", type=PositiveInt, metavar="N", help="GPUs of a run, over all its nodes")
    processes.add_argument("--processes_per_run", type=PositiveInt, metavar="N", help="the same on CPUs")
    local = run.add_argument_group("with --engine local")
    words = "runs at a time (1); they share the CPU cores and the GPUs, with as many slots as GPUs one each"
    local.add_argument("--slots", help=words, **number)
    slurm = run.add_argument_group("with --engine slurm")
    slurm.add_argument("--nodes", help="nodes of a run (1)", **number)
    slurm.add_argument("--minutes", help="time limit, then requeued (1440)", **number)
    slurm.add_argument("--cpus_per_process", help="with its data loaders (1)", **number)
    slurm.add_argument("--parallel", help="runs at a time (as many as Slurm allows)", **number)
    slurm.add_argument("--partition", type=str | None)
    slurm.add_argument("--account", type=str | None)
    words = "more options of sbatch, such as qos=low mem=64G"
    slurm.add_argument("--slurm", nargs="+", type=_option, metavar="KEY=VALUE", help=words)


def _option(text: str) -> str:
    key, equals, _ = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return text
