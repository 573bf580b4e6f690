"""results.json: what a run was and what came of it. Tables and reports read nothing else."""

import json
import math
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.callbacks.samples import SampleWriter
from refinenet_pl.files import slug, write_json
from refinenet_pl.tracking.environment import describe_environment
from refinenet_pl.tracking.identity import BEST, RunId
from refinenet_pl.tracking.wandb import WandbTracker
from refinenet_pl.visualization.scores import per_class_table, save_scores


class ResultsWriter(Callback):
    """Writes a run's results.json, on the first process.

    The file is replaced as a whole or not at all. A test or validation of a finished run adds its scores to what is there,
    prints them class by class, and writes them as CSV and as an image of the confusion matrix. W&B gets all of it too, if
    the run is tracked there.

    Args:
        run: Names the run and its directory.
        config: The resolved configuration.
        checkpoint: What a test or validation evaluates; None in training.
        timer: Measures the time spent training, across interruptions.
        samples: Has the sample images.
        best: Keeps the best checkpoint; None if none is kept.
    """

    def __init__(
        self,
        run: RunId,
        config: dict,
        checkpoint: Path | None,
        timer: Timer,
        samples: SampleWriter,
        best: ModelCheckpoint | None = None,
    ):
        self.run = run
        self.config = config
        self.checkpoint = checkpoint
        self.timer = timer
        self.samples = samples
        self.best = best
        self.evaluations: dict[str, dict] = {}
        self.curve: list[dict] = []
        self.pooling_activity: list[float] = []

    def state_dict(self) -> dict:
        return {"curve": self.curve}

    def load_state_dict(self, state: dict) -> None:
        self.curve = state["curve"]

    def keep(self, trainer: Trainer, task: LightningModule, checkpoint: str | None) -> None:
        """Hold on to the validation that has just ended, until `write`.

        Args:
            trainer: Has validated.
            task: Has the scores.
            checkpoint: File name of the weights that were scored; None if no file has them.
        """
        self.evaluations |= self._evaluation(trainer, task, "val", checkpoint)

    @rank_zero_only
    def write(self, trainer: Trainer, task: LightningModule, diverged: dict | None = None) -> None:
        """Record a finished training with the validations that were kept.

        Args:
            trainer: Has trained.
            task: The task.
            diverged: `step` and `reason` of a training that diverged; the record is then one without scores.
        """
        network = task.network
        record = {
            "format": 1,
            "run": self.run.names,
            "evaluations": self.evaluations,
            "best": None if diverged else self._best(),
            "curve": self.curve,
            "training": {
                "epochs": trainer.current_epoch,
                "steps": trainer.global_step,
                "seconds": round(self.timer.time_elapsed("train"), 1),
            },
            "pooling_activity": self.pooling_activity,
            "network": {
                "class": f"{type(network).__module__}.{type(network).__qualname__}",
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
            },
            "config": self.config,
            **describe_environment(trainer.strategy.root_device),
            "world_size": trainer.world_size,
        }
        write_json(self.run.results_file, record | ({"diverged": diverged} if diverged else {}))
        step = trainer.global_step
        for tracker in _trackers(trainer):
            for name, evaluation in self.evaluations.items():
                tracker.log_scores(slug(name), evaluation, step)
            if self.samples.samples:
                tracker.log_samples(self.samples.samples, trainer.datamodule.classes, step)
            tracker.save_files("results.json", "samples/*")

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        if not task.results["val"].view:
            self.pooling_activity = list(task.results["val"].pooling_activity)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            miou = task.results["val"].scores.miou
            self.curve.append({"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "miou": miou})
            known = [point["miou"] for point in self.curve if not math.isnan(point["miou"])]
            for tracker in _trackers(trainer) if known else ():
                tracker.log_best(max(known))
        if trainer.state.fn == "validate" and self.checkpoint:
            self._add(trainer, task, "val", f"val of {self.checkpoint.name}")

    def on_test_end(self, trainer: Trainer, task: LightningModule) -> None:
        self._add(trainer, task, "test", "test")

    @rank_zero_only
    def _add(self, trainer: Trainer, task: LightningModule, stage: str, name: str) -> None:
        if trainer.fast_dev_run:
            return
        # Another run's checkpoint, or an imported model, has its scores beside it: they are not this run's.
        home = self.checkpoint if self.checkpoint.is_dir() else self.checkpoint.parent
        entry = self._evaluation(trainer, task, stage, self.checkpoint.name, name)
        for key, evaluation in entry.items():
            for tracker in _trackers(trainer):
                tracker.log_scores(slug(key), evaluation, trainer.global_step)
            stem = home / slug(key)
            print(f"{key}\n{per_class_table(evaluation)}\nwritten: {', '.join(map(str, save_scores(stem, evaluation)))}")
        if self.run.owns(self.checkpoint) and self.run.results_file.is_file():
            results = json.loads(self.run.results_file.read_text())
            results["evaluations"] |= entry
            write_json(self.run.results_file, results)
            for tracker in _trackers(trainer):
                tracker.save_files("results.json")

    def _evaluation(
        self, trainer: Trainer, task: LightningModule, stage: str, checkpoint: str | None, name: str | None = None
    ) -> dict[str, dict]:
        result = task.results[stage]
        limit = trainer.limit_test_batches if stage == "test" else trainer.limit_val_batches
        evaluation = {
            "checkpoint": checkpoint,
            "split": trainer.datamodule.splits[stage],
            # A score of a part of the split is not the split's.
            **({} if limit == 1.0 and isinstance(limit, float) else {"limit_batches": limit}),
            **result.to_dict(),
        }
        return {", ".join(filter(None, [name or stage, result.view])): evaluation}

    def _best(self) -> dict | None:
        score = self.best.best_model_score if self.best else None
        return None if score is None else {"checkpoint": BEST, "miou": score.item()}


def _trackers(trainer: Trainer) -> list[WandbTracker]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbTracker)]
