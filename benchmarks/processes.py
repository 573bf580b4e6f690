"""Dependence of a run on its number of processes: differences of weights and scores after training the Scenes recipe, confusion
matrices of one network, and speed in turns. All on the CPU, on which the same sums in the same order have the same bits.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import parser_of, write
from refinenet_pl.tracking.identity import RunId

# Batches that four processes can share, and the optimizer that magnifies differences of rounding most.
SHARED = ["--data.global_batch=8", "--model.optimizer=adamw", "--model.learning_rate=3e-3", "--model.weight_decay=0.01"]
# Two epochs with what a number of processes could change: dropout, unequal class weights, an encoder that learns.
TRAINING = [
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=2",
    "--model.network.init_args.dropout=0.5",
    "--model.encoder_learning_rate_factor=0.1",
    "--model.class_weights=[0.5, 1, 1, 1, 1, 2, 3, 1, 1, 5, 5]",
]
# (processes, threads of each, accumulated batches). The second differs from the first in the order of sums alone.
SHARES = [(1, 1, 1), (1, 2, 1), (2, 1, 1), (4, 1, 1), (2, 1, 2), (1, 1, 4)]
# Batches of 6 leave a last one of 2 of 800 images: none but the first of these shares them evenly.
EVALUATED = (1, 2, 3, 4)


def run(command: str, root: Path, processes: int, threads: int, images: int, *more: str) -> dict:
    """Run `fit` or `validate` on a number of images; return the record of the run."""
    words = [sys.executable, "-m", "refinenet_pl", command, "-c", "scenes", f"--run.root={root}", *SHARED]
    words += ["--trainer.accelerator=cpu", f"--trainer.devices={processes}", "--trainer.enable_progress_bar=false"]
    words += [f'--data.dataset_options={{"samples": {images}}}', *more]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "WANDB_MODE": "disabled"}
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
    return json.loads(RunId("scenes", root=str(root)).results_file.read_text())


def train(folder: Path, steps: int, rounds: int) -> list[dict]:
    """Rows of `SHARES`: after a number of steps, the largest difference of a weight from the first row, mIoU, and speed.

    Speed is the median of `rounds` trainings of each, in turns, relative to the first row.
    """
    seconds: dict[tuple, list[float]] = {share: [] for share in SHARES}
    found, weights = {}, {}
    for turn in range(rounds):
        for share in SHARES:
            processes, threads, accumulated = share
            accumulate = f"--trainer.accumulate_grad_batches={accumulated}"
            root = folder / str(turn) / "-".join(map(str, share))
            found[share] = run("fit", root, processes, threads, 4 * steps, *TRAINING, accumulate)
            checkpoint = RunId("scenes", root=str(root)).directory / "last.ckpt"
            weights[share] = torch.load(checkpoint, weights_only=True)["state_dict"]
            seconds[share].append(found[share]["training"]["seconds"])
    rows, reference, base = [], weights[SHARES[0]], statistics.median(seconds[SHARES[0]])
    for share, record in found.items():
        row = dict(zip(("processes", "threads", "accumulated"), share, strict=True)) | {"steps": record["training"]["steps"]}
        row["largest_difference"] = max(float((weights[share][name] - reference[name]).abs().max()) for name in reference)
        row["miou"] = record["evaluations"]["val"]["miou"]
        rows.append(row | {"seconds": seconds[share], "speed": base / statistics.median(seconds[share])})
    return rows


def evaluate(root: Path, images: int) -> list[dict]:
    """Rows of `EVALUATED`: confusion matrix and loss of the trained network, compared with the first row."""
    found = {}
    for processes in EVALUATED:
        record = run("validate", root, processes, 1, images, *TRAINING, "--data.evaluation_batch=6")
        found[processes] = record["evaluations"]["val of best.ckpt"]
    first = found[EVALUATED[0]]
    return [
        {
            "processes": processes,
            "equal_confusion": result["confusion"] == first["confusion"],
            "pixels": int(np.sum(result["confusion"])),
            "difference_of_loss": abs(result["loss"] - first["loss"]),
        }
        for processes, result in found.items()
    ]


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run the command and return the record."""
    parser = parser_of(__doc__)
    parser.set_defaults(device="cpu")
    parser.add_argument("--steps", type=int, default=200, help="length of a training, an even number")
    parser.add_argument("--images", type=int, default=800, help="images of an evaluation")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        trained = train(folder, options.steps, options.rounds)
        evaluated = evaluate(folder / "0" / "-".join(map(str, SHARES[0])), options.images)
    return write("processes", options, {"trained": trained, "evaluated": evaluated, "cores": os.cpu_count()})


if __name__ == "__main__":
    main()
