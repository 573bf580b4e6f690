"""The words that ablate.py takes."""

import argparse
from pathlib import Path

from refinenet_pl.ablation.records import SCORES
from refinenet_pl.ablation.rendering import FORMATS
from refinenet_pl.files import expand_path

EXAMPLES = """\
examples:
  python experiments/ablate.py list                      the tables and recipes
  python experiments/ablate.py list cascade              one table: its claim and its cells
  python experiments/ablate.py run cascade --on scenes --seeds 2
  python experiments/ablate.py run cascade --on scenes --seeds 2 --cells cascade_1 cascade_4 -- --trainer.max_epochs=5
  python experiments/ablate.py run cascade --on nyudv2 --seeds 3 --slots 2 --gpus-per-run 4
  python experiments/ablate.py run cascade --on nyudv2 --seeds 3 --engine slurm --gpus-per-run 4 --partition gpu
  python experiments/ablate.py status cascade --on nyudv2 --seeds 3
  python experiments/ablate.py sweep cascade --on nyudv2 --seeds 3 --processes 4 > sweep.yaml
  python experiments/ablate.py commands cascade --on nyudv2 --seeds 3 > runs.sh      to run them elsewhere
  python experiments/ablate.py table cascade --on nyudv2 --split test --format latex
  python experiments/report.py runs -o report.html       all tables as one page

Runs that have finished are never repeated; a run that was stopped goes on where it was. What stands behind `--` goes to each
run's training command. Runs with other such arguments belong under another --root.
"""


def path(text: str) -> Path:
    """A path from the command line, with `~` and environment variables replaced."""
    return expand_path(text, argparse.ArgumentTypeError)


def parser(description: str) -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        description=description, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = "list | run | status | table | commands | sweep | train"
    commands = main.add_subparsers(dest="command", required=True, metavar=names)
    listing = commands.add_parser("list", help="show the tables and recipes, or one table's cells")
    listing.add_argument("table", nargs="?", metavar="TABLE", help="show this table's claim and cells")

    of = argparse.ArgumentParser(add_help=False)
    of.add_argument("table", metavar="TABLE", help="a name in experiments/tables, or a YAML file")
    of.add_argument("--on", required=True, metavar="RECIPE", help="a name in experiments/recipes, or a YAML file")
    of.add_argument("--root", default="runs", type=lambda text: str(path(text)), help="directory of all runs (default: runs)")
    rows = argparse.ArgumentParser(add_help=False)
    rows.add_argument("--cells", nargs="+", metavar="CELL", help="only these rows")
    seeds = argparse.ArgumentParser(add_help=False)
    seeds.add_argument("--seeds", type=_positive, required=True, metavar="N", help="seeds 0 to N-1 of each cell")
    shown = argparse.ArgumentParser(add_help=False)
    shown.add_argument("--split", default="val", help="the evaluation to report (default: val)")
    words = "the figures: mIoU (default), or that of the pixels along borders"
    shown.add_argument("--score", choices=SCORES, default="miou", help=words)
    shown.add_argument("--reference", metavar="CELL", help="compare with this cell instead of the table's own reference")

    run = commands.add_parser(
        "run", parents=[of, rows, seeds, shown], help="run what is missing, then print and write the table"
    )
    _add_engines(run)
    run.add_argument("--output", metavar="DIR", type=path, help="where the table's files go (default: ROOT/TABLE@RECIPE)")
    commands.add_parser(
        "status", parents=[of, rows, seeds],
        help="a line for each run: done, running, pending, stopped, failed, not started; exit code 0 when all are done",
    )  # fmt: skip
    table = commands.add_parser("table", parents=[of, rows, shown], help="print the table of the runs there are")
    table.add_argument("--seeds", type=_positive, metavar="N", help="expect seeds 0 to N-1 (default: those found)")
    table.add_argument("--format", choices=FORMATS, default="markdown")
    table.add_argument(
        "--output", metavar="DIR", type=path, help="also write TABLE@RECIPE.md, .csv and .png into this directory"
    )
    commands.add_parser("commands", parents=[of, rows, seeds], help="print one shell command for each run")
    sweep = commands.add_parser("sweep", parents=[of, rows, seeds], help="print the file for `wandb sweep`")
    sweep.add_argument("--processes", type=_positive, default=1, metavar="N", help="processes of a run, one a GPU (default: 1)")
    train = commands.add_parser("train", parents=[of], help="train one run in this process, as sweeps and torchrun need it")
    train.add_argument("--cell", required=True)
    train.add_argument("--seed", required=True, type=int)
    return main


def _add_engines(run: argparse.ArgumentParser) -> None:
    run.add_argument("--engine", choices=("local", "slurm"), default="local", help="this machine (default), or a Slurm cluster")
    processes = run.add_mutually_exclusive_group()
    processes.add_argument("--gpus-per-run", type=_positive, metavar="N", help="GPUs of a run, over all its nodes")
    processes.add_argument("--processes-per-run", type=_positive, metavar="N", help="the same on CPUs")
    local = run.add_argument_group("with --engine local")
    local.add_argument(
        "--slots", type=_positive, metavar="N",
        help="runs at a time (default: 1); they share the CPU cores and the GPUs, with as many slots as GPUs one each",
    )  # fmt: skip
    slurm = run.add_argument_group("with --engine slurm")
    slurm.add_argument("--nodes", type=_positive, metavar="N", help="nodes of a run (default: 1)")
    slurm.add_argument("--minutes", type=_positive, metavar="N", help="time limit, then requeued (default: 1440)")
    slurm.add_argument("--cpus-per-process", type=_positive, metavar="N", help="with its data loaders (default: 1)")
    slurm.add_argument("--parallel", type=_positive, metavar="N", help="runs at a time (default: as many as Slurm lets)")
    slurm.add_argument("--partition")
    slurm.add_argument("--account")
    more = "more options of sbatch, like qos=low mem=64G"
    slurm.add_argument("--slurm", nargs="+", type=_option, metavar="KEY=VALUE", help=more)


def refuse_other_engines(options: argparse.Namespace) -> None:
    """End with a message where an option of one engine is given to the other, which would not heed it."""
    names = {
        "local": ("nodes", "minutes", "cpus_per_process", "parallel", "partition", "account", "slurm"),
        "slurm": ("slots",),
    }[options.engine]
    for name in names:
        if getattr(options, name) is not None:
            other = "local" if options.engine == "slurm" else "slurm"
            parser("").error(f"--{name.replace('_', '-')} is for --engine {other}")


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)
