"""results.json: what a run was and what came of it. Tables and reports read nothing else."""

import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.tracking.run import Run

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "segmentation-models-pytorch", "timm")


class ResultsWriter(Callback):
    """Writes a run's results.json, on the first process.

    The file is replaced as a whole or not at all. A test or validation of a finished run adds its scores to what is there.

    Args:
        run: Names the run and its directory.
        config: The resolved configuration.
        checkpoint: What was evaluated, where it is not the network at the end of training.
        timer: Measures the time spent training, across interruptions.
    """

    def __init__(self, run: Run, config: dict, checkpoint: str | None, timer: Timer):
        self.run = run
        self.config = config
        self.checkpoint = checkpoint
        self.timer = timer

    @rank_zero_only
    def write(self, trainer: Trainer, task: LightningModule) -> None:
        """Record a finished training whose network, as it is now, has just been validated."""
        network = task.network
        write_json(
            self.run.results_file,
            {
                "format": 1,
                "run": {key: getattr(self.run, key) for key in ("recipe", "table", "cell", "seed")},
                "evaluations": {"val": self._evaluation(trainer, task, "val", "last.ckpt")},
                "best": self._best(trainer),
                "training": {
                    "epochs": trainer.current_epoch,
                    "steps": trainer.global_step,
                    "seconds": round(self.timer.time_elapsed("train"), 1),
                },
                "network": {
                    "class": f"{type(network).__module__}.{type(network).__qualname__}",
                    "parameters": sum(parameter.numel() for parameter in network.parameters()),
                },
                "config": self.config,
                "git": git_state(),
                "versions": {name: version(name) for name in PACKAGES},
                "device": device_name(trainer.strategy.root_device),
                "world_size": trainer.world_size,
            },
        )

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._add(trainer, task, "val")

    def on_test_end(self, trainer: Trainer, task: LightningModule) -> None:
        self._add(trainer, task, "test")

    @rank_zero_only
    def _add(self, trainer: Trainer, task: LightningModule, split: str) -> None:
        file = self.run.results_file
        if trainer.fast_dev_run or not file.is_file():
            return
        results = json.loads(file.read_text())
        key = split if split == "test" else f"val of {self.checkpoint}"
        results["evaluations"][key] = self._evaluation(trainer, task, split, self.checkpoint)
        write_json(file, results)

    def _evaluation(self, trainer: Trainer, task: LightningModule, split: str, checkpoint: str | None) -> dict:
        loss = trainer.callback_metrics[f"{split}/loss"].item()
        return {"checkpoint": checkpoint, "loss": loss, **task.evaluations[split].to_dict()}

    def _best(self, trainer: Trainer) -> dict | None:
        score = trainer.checkpoint_callback.best_model_score if trainer.checkpoint_callback else None
        return None if score is None else {"checkpoint": "best.ckpt", "miou": score.item()}


def write_json(file: Path, content: dict) -> None:
    """Replace a JSON file as a whole or not at all, also where the process is killed meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with unfinished.open("w") as stream:
            json.dump(content, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


def git_state() -> dict:
    """Revision of the source tree and whether tracked files had uncommitted changes; None where it is not a git checkout."""
    here = Path(__file__).parent
    try:
        revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}
    return {"revision": revision.stdout.strip(), "dirty": bool(status.stdout.strip())}


def device_name(device: torch.device) -> str:
    """What the run was computed on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
