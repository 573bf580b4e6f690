#!/usr/bin/env python
"""Whether a run's numbers depend on how many processes made them, and what processes are worth.

`python experiments/processes.py` trains the Scenes recipe on 1, 2 and 4 processes, for a few steps and for many, evaluates one
network on 1 to 4, and times an epoch on 1 and 2, in turns; `--table` prints the record. All on the CPU, where the same sums in
the same order give the same bits.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from refinenet_pl.tracking.identity import RunId

RECORD = Path(__file__).resolve().parent / "results" / "processes.json"
RECIPE = Path(__file__).resolve().parent / "recipes" / "scenes.yaml"
# The recipe with batches that four processes can share, and the optimiser that magnifies differences of rounding the most.
SHARED = ["--data.global_batch=8", "--model.optimizer=adamw", "--model.learning_rate=3e-3", "--model.weight_decay=0.01"]
# Two epochs of it, with what a number of processes could change: dropout, heavier classes, an encoder that learns.
TRAINING = [
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=2",
    "--model.network.init_args.dropout=0.5",
    "--model.encoder_learning_rate_factor=0.1",
    "--model.class_weights=[0.5, 1, 1, 1, 1, 2, 3, 1, 1, 5, 5]",
]
# Steps -> training pictures of each of the two epochs.
LENGTHS = {20: 80, 200: 800}
# (processes, threads of each, batches that are accumulated). The second differs from the first in the order of sums alone.
SHARES = [(1, 1, 1), (1, 2, 1), (2, 1, 1), (4, 1, 1), (2, 1, 2), (1, 1, 4)]
# 800 validation pictures in batches of 6, the last one of 2: none but the first shares them evenly.
EVALUATED = (1, 2, 3, 4)
# (processes, threads of each) and how often each is timed.
TIMED = [(1, 1), (1, 2), (2, 1)]
ROUNDS = 3


def run(command: str, root: Path, processes: int, threads: int, *more: str) -> dict:
    """Run `fit` or `validate` and give the record of the run."""
    words = [sys.executable, "-m", "refinenet_pl", command, "-c", str(RECIPE), f"--run.root={root}", *SHARED]
    words += ["--trainer.accelerator=cpu", f"--trainer.devices={processes}", "--trainer.enable_progress_bar=false", *more]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "WANDB_MODE": "disabled"}
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    return json.loads(RunId("scenes", root=str(root)).results_file.read_text())


def measure(folder: Path) -> dict:
    """Train, evaluate and time everything."""
    trained, evaluated, timed = [], [], {kind: [] for kind in TIMED}
    reference = {}
    for processes, threads, accumulated in SHARES:
        row = {"processes": processes, "threads": threads, "accumulated": accumulated, "after": {}}
        for steps, pictures in LENGTHS.items():
            root = folder / f"{processes}-{threads}-{accumulated}-{steps}"
            more = [*TRAINING, f"--trainer.accumulate_grad_batches={accumulated}", _pictures(pictures)]
            record = run("fit", root, processes, threads, *more)
            assert record["training"]["steps"] == steps
            weights = torch.load(RunId("scenes", root=str(root)).directory / "last.ckpt", weights_only=True)["state_dict"]
            others = reference.setdefault(steps, weights)
            difference = max(float((weights[name] - others[name]).abs().max()) for name in others)
            row["after"][steps] = {"largest_difference": difference, "miou": record["evaluations"]["val"]["miou"]}
        trained.append(row)
        print(row, flush=True)
    for processes in EVALUATED:
        evaluation = [*TRAINING, _pictures(800), "--data.evaluation_batch=6"]
        record = run("validate", folder / "1-1-1-200", processes, 1, *evaluation)
        found = record["evaluations"]["val of best.ckpt"]
        evaluated.append({"processes": processes, "confusion": found["confusion"], "loss": found["loss"]})
    epoch = "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"
    for turn in range(ROUNDS):
        for processes, threads in TIMED:
            record = run("fit", folder / f"timed-{turn}-{processes}-{threads}", processes, threads, *epoch)
            timed[processes, threads].append(record["training"]["seconds"])
            print(processes, threads, timed[processes, threads][-1], flush=True)
    return {
        "trained": trained,
        "evaluated": evaluated,
        "timed": [{"processes": p, "threads": t, "seconds": seconds} for (p, t), seconds in timed.items()],
        "cores": len(os.sched_getaffinity(0)),
        **{key: record[key] for key in ("git", "versions")},
    }


def _pictures(number: int) -> str:
    return f'--data.dataset_options={{"samples": {number}}}'


def tables(record: dict) -> list[str]:
    """The record as Markdown: training, evaluation, speed."""
    lengths = list(record["trained"][0]["after"])
    rows = [
        (row["processes"], row["threads"], row["accumulated"],
         *(_difference(row["after"][steps]["largest_difference"]) for steps in lengths),
         *(f"{100 * row['after'][steps]['miou']:.2f}" for steps in lengths[-1:]))
        for row in record["trained"]
    ]  # fmt: skip
    header = ["processes", "threads of each", "batches a step", *(f"after {steps} steps" for steps in lengths), "mIoU % then"]
    first = record["evaluated"][0]
    evaluated = [
        (row["processes"], "reference" if row is first else "equal" if row["confusion"] == first["confusion"] else "differs",
         f"{np.sum(row['confusion']):,}", _difference(abs(row["loss"] - first["loss"])))
        for row in record["evaluated"]
    ]  # fmt: skip
    base = statistics.median(record["timed"][0]["seconds"])
    timed = [
        (row["processes"], row["threads"], f"{base / statistics.median(row['seconds']):.2f}",
         f"{base / max(row['seconds']):.2f} to {base / min(row['seconds']):.2f}")
        for row in record["timed"]
    ]  # fmt: skip
    return [
        _table(header, rows),
        _table(["processes", "confusion matrix", "pixels in it", "difference of the loss"], evaluated),
        _table(["processes", "threads of each", "speed", f"over {ROUNDS} runs"], timed),
    ]


def _difference(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def _table(header: list[str], rows: list[tuple]) -> str:
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=("right",) * len(header))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the kept record and measure nothing")
    parser.add_argument("--output", type=Path, default=RECORD, help=f"where to write (default: {RECORD.name} in results)")
    options = parser.parse_args()
    if not options.table:
        with tempfile.TemporaryDirectory() as folder:
            options.output.write_text(json.dumps(measure(Path(folder)), indent=1))
    print("\n\n".join(tables(json.loads(options.output.read_text()))))


if __name__ == "__main__":
    main()
