"""Dependence of results and speed on the number of processes.

It compares weights and scores after training the Scenes recipe, confusion matrices of one network, and training speed. All runs
are on the CPU, where sums in the same order are bit-identical.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import parser_of, write
from refinenet_pl.tracking.identity import RunId

# A batch size divisible by four processes, and the optimizer that amplifies rounding errors most.
SHARED = ["--data.global_batch=8", "--model.optimizer=adamw", "--model.learning_rate=3e-3", "--model.weight_decay=0.01"]
# Two epochs with everything that the number of processes could affect: dropout, unequal class weights, a trainable encoder.
TRAINING = [
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=2",
    "--model.network.init_args.dropout=0.5",
    "--model.encoder_learning_rate_factor=0.1",
    "--model.class_weights=[0.5, 1, 1, 1, 1, 2, 3, 1, 1, 5, 5]",
]
# (processes, threads per process, accumulated batches). The second differs from the first only in the order of sums.
SHARES = [(1, 1, 1), (1, 2, 1), (2, 1, 1), (4, 1, 1), (2, 1, 2), (1, 1, 4)]
# Only the first of these distributes batches of 6 evenly: 800 images end with a batch of 2.
EVALUATED = (1, 2, 3, 4)


def run(command: str, root: Path, processes: int, threads: int, images: int, *more: str) -> dict[str, Any]:
    """Run `fit` or `validate` and return the record of the run.

    Args:
        command: `fit` or `validate`.
        root: Directory of the run.
        processes: Number of processes.
        threads: Threads per process.
        images: Number of images of the dataset.
        more: Additional options.
    """
    words = [sys.executable, "-m", "refinenet_pl", command, "-c", "scenes", f"--run.root={root}", *SHARED]
    words += ["--trainer.accelerator=cpu", f"--trainer.devices={processes}", "--trainer.enable_progress_bar=false"]
    words += [f'--data.dataset_options={{"samples": {images}}}', *more]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "WANDB_MODE": "disabled"}
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
    return json.loads(RunId("scenes", root=str(root)).results_file.read_text())


def train(folder: Path, steps: int, rounds: int) -> list[dict[str, Any]]:
    """Train with each of `SHARES`.

    Args:
        folder: Directory of the runs.
        steps: Length of a training.
        rounds: Number of trainings with each share, in turns.

    Returns:
        Rows with the max difference of a weight from the first row, mIoU, and the median speed relative to the first row.
    """
    seconds: dict[tuple[int, int, int], list[float]] = {share: [] for share in SHARES}
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


def evaluate(root: Path, images: int) -> list[dict[str, Any]]:
    """Evaluate a trained network with each number of processes in `EVALUATED`.

    Args:
        root: Directory of the trained run.
        images: Number of images.

    Returns:
        Rows that compare confusion matrix and loss with the first row.
    """
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


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the command and return the record."""
    parser = parser_of(__doc__)
    parser.set_defaults(device="cpu")
    parser.add_argument("--steps", type=int, default=200, help="steps per training, an even number")
    parser.add_argument("--images", type=int, default=800, help="images per evaluation")
    parser.add_argument("--rounds", type=int, default=3, help="trainings per configuration")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        trained = train(folder, options.steps, options.rounds)
        evaluated = evaluate(folder / "0" / "-".join(map(str, SHARES[0])), options.images)
    return write("processes", options, {"trained": trained, "evaluated": evaluated, "cores": os.cpu_count()})


if __name__ == "__main__":
    main()
