"""Options of `refinenet ablate`."""

import argparse
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from refinenet_pl.ablation.rendering import FORMATS
from refinenet_pl.metrics.registry import PRIMARY, SCORES

EXAMPLES = """\
examples:
  refinenet ablate list                      all tables and recipes
  refinenet ablate list cascade              claim and cells of one table
  refinenet ablate run cascade --on scenes --seeds 2
  refinenet ablate run cascade --on scenes --seeds 2 --cells cascade_1 cascade_4 -- --trainer.max_epochs=5
  refinenet ablate run cascade --on nyudv2 --seeds 3 --slots 2 --gpus_per_run 4
  refinenet ablate run cascade --on nyudv2 --seeds 3 --engine slurm --gpus_per_run 4 --partition gpu
  refinenet ablate status cascade --on nyudv2 --seeds 3
  refinenet ablate sweep cascade --on nyudv2 --seeds 3 --processes 4 > sweep.yaml
  refinenet ablate commands cascade --on nyudv2 --seeds 3 > runs.sh      for another scheduler
  refinenet ablate table cascade --on nyudv2 --split test --format latex
  refinenet report runs -o report.html       HTML report of all tables

Finished runs are not repeated, and interrupted runs resume. Options after `--` are passed to the training command of each
run. Use a separate --root for each set of such options.
"""
# Options that apply to one engine only.
_ENGINES = {
    "local": ("slots",),
    "slurm": ("nodes", "minutes", "cpus_per_process", "parallel", "partition", "account", "slurm"),
}


def parse(words: Sequence[str]) -> Namespace:
    """Parse a command line; exits with a message if it is invalid.

    Args:
        words: Arguments after `refinenet ablate`, without the options of the training.

    Returns:
        Namespace with the name of the subcommand as `command`, and its options under that name.
    """
    parser = _parser()
    try:
        options = parser.parse_args(list(words))
    except argparse.ArgumentError as error:
        training = words[:1] and words[0] in ("run", "commands") and "unrecognized arguments" in str(error).lower()
        fix = "; put options of the training last, after --" if training else ""
        parser.exit(2, f"error: {error}{fix}\n")
    if options.command == "run":
        for engine, names in _ENGINES.items():
            given = [name for name in names if engine != options.run.engine and options.run[name] is not None]
            if given:
                parser.exit(2, f"error: --{given[0]} requires --engine {engine}\n")
    return options


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="refinenet ablate", description="Train and print ablation tables of RefineNet.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, exit_on_error=False,
    )  # fmt: skip
    commands = parser.add_subcommands(dest="command")

    def command(name: str, words: str, *parts: Callable[[ArgumentParser], None]) -> ArgumentParser:
        sub = ArgumentParser(description=words, exit_on_error=False)
        for part in parts:
            part(sub)
        commands.add_subcommand(name, sub, help=words)
        return sub

    listing = command("list", "list all tables and recipes, or the claim and cells of one table")
    listing.add_argument("table", nargs="?", metavar="TABLE", help="name of a table, or a YAML file")
    run = command("run", "train the missing runs, then print and write the table", _group, _cells, _seeds, _shown)
    _add_engines(run)
    run.add_argument("--output", type=str | None, metavar="DIR", help="directory of the table's files (ROOT/TABLE@RECIPE)")
    words = "print the state of each run: done, running, pending, stopped, failed, not started; exit code 0 if all are done"
    command("status", words, _group, _cells, _seeds)
    table = command("table", "print the table of the available runs", _group, _cells, _shown)
    table.add_argument("--seeds", type=PositiveInt | None, metavar="N", help="expected seeds, 0 to N-1 (all seeds found)")
    table.add_argument("--format", choices=FORMATS, default="markdown")
    words = "also write TABLE@RECIPE.md, .csv and .png to this directory"
    table.add_argument("--output", type=str | None, metavar="DIR", help=words)
    keep = command("keep", "pack the finished runs of a table into one file, TABLE@RECIPE/records.jsonl", _group)
    keep.add_argument(
        "--output", required=True, metavar="DIR", help="directory of kept results, to be used as --root of tables"
    )
    command("commands", "print one shell command for each run", _group, _cells, _seeds)
    sweep = command("sweep", "print the configuration for `wandb sweep`", _group, _cells, _seeds)
    sweep.add_argument("--processes", type=PositiveInt, default=1, metavar="N", help="processes per run, one per GPU")
    return parser


def _group(parser: ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help="name of a table, or a YAML file")
    parser.add_argument("--on", required=True, metavar="RECIPE", help="name of a recipe, or a YAML file")
    parser.add_argument("--root", default="runs", help="directory of all runs")


def _cells(parser: ArgumentParser) -> None:
    parser.add_argument("--cells", nargs="+", metavar="CELL", help="rows to include (all)")


def _seeds(parser: ArgumentParser) -> None:
    parser.add_argument("--seeds", type=PositiveInt, required=True, metavar="N", help="seeds 0 to N-1 of each cell")


def _shown(parser: ArgumentParser) -> None:
    parser.add_argument("--split", default="val", help="evaluation to report")
    words = (
        f"score to report (the primary one of the records: {', '.join(PRIMARY)}): one of {', '.join(SCORES)}, or a name in "
        "model.metrics"
    )
    parser.add_argument("--score", type=str | None, metavar="SCORE", help=words)
    words = "cell to compare with, instead of the table's reference"
    parser.add_argument("--reference", type=str | None, metavar="CELL", help=words)


def _add_engines(run: ArgumentParser) -> None:
    run.add_argument("--engine", choices=("local", "slurm"), default="local", help="this machine, or a Slurm cluster")
    processes = run.add_mutually_exclusive_group()
    number = {"type": PositiveInt | None, "metavar": "N"}
    processes.add_argument("--gpus_per_run", type=PositiveInt, metavar="N", help="GPUs per run, over all nodes")
    processes.add_argument("--processes_per_run", type=PositiveInt, metavar="N", help="CPU processes per run, over all nodes")
    local = run.add_argument_group("with --engine local")
    words = "number of concurrent runs (1), which share the CPU cores and the GPUs; one GPU each with as many slots as GPUs"
    local.add_argument("--slots", help=words, **number)
    slurm = run.add_argument_group("with --engine slurm")
    slurm.add_argument("--nodes", help="nodes per run (1)", **number)
    slurm.add_argument("--minutes", help="time limit, after which the run is requeued (1440)", **number)
    slurm.add_argument("--cpus_per_process", help="CPU cores per process, including its data loaders (1)", **number)
    slurm.add_argument("--parallel", help="max number of concurrent runs (Slurm's limit)", **number)
    slurm.add_argument("--partition", type=str | None, help="partition of sbatch")
    slurm.add_argument("--account", type=str | None, help="account of sbatch")
    words = "additional options of sbatch, such as qos=low mem=64G"
    slurm.add_argument("--slurm", nargs="+", type=_option, metavar="KEY=VALUE", help=words)


def _option(text: str) -> str:
    key, equals, _ = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} does not have the form KEY=VALUE")
    return text
