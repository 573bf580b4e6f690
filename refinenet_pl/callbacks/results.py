"""Record of a run, results.json: its configuration and its scores. Tables and reports read nothing else."""

import json
import math
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.callbacks.predicted_samples import can_predict, predict_samples, spread
from refinenet_pl.callbacks.ranked_images import rank_images, write_image_scores
from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.files import slug, write_json
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tracking.environment import describe_environment
from refinenet_pl.tracking.identity import BEST, RunId
from refinenet_pl.tracking.log_options import LogOptions
from refinenet_pl.tracking.record_log import log_files, log_record
from refinenet_pl.tracking.trackers import trackers
from refinenet_pl.visualization.sample import RankedSample, ValueSample
from refinenet_pl.visualization.scores import per_class_table, save_scores
from refinenet_pl.visualization.value_scores import save_value_scores, value_table


class ResultsWriter(Callback):
    """Writes results.json of a run, on the first process.

    The file is replaced as a whole or not at all. A test or validation of a finished run adds its scores, prints them, and
    writes them as CSV and as an image: of the confusion matrix for classes, of errors for values. Another CSV file has the
    score of each image. The loggers show them too.

    Args:
        run: The run.
        config: Its resolved configuration.
        checkpoint: Checkpoint that a test or validation evaluates; None in training.
        timer: Timer of the training, across interruptions.
        log: Content of the loggers.
        best: Callback that keeps the best checkpoint; None if none is kept.
    """

    def __init__(
        self,
        run: RunId,
        config: dict[str, Any],
        checkpoint: Path | None,
        timer: Timer,
        log: LogOptions,
        best: ModelCheckpoint | None = None,
    ):
        self.run = run
        self.config = config
        self.checkpoint = checkpoint
        self.timer = timer
        self.log_options = log
        self.best = best
        self.evaluations: dict[str, dict[str, Any]] = {}
        self.ranked: dict[str, list[RankedSample]] = {}
        self.curve: list[dict[str, Any]] = []
        self.pooling_activity: list[float] = []
        self.initialized: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the validation curve and the weights that the run started from, to be stored in checkpoints."""
        return {"curve": self.curve, "initialized": self.initialized}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the validation curve and the weights that the run started from."""
        self.curve = state["curve"]
        self.initialized = state.get("initialized")

    def keep(self, trainer: Trainer, task: DenseTask, checkpoint: str | None) -> None:
        """Keep the scores of the last validation for `write`.

        Args:
            trainer: The trainer.
            task: The task, with the scores.
            checkpoint: File name of the scored weights; None if no file has them.
        """
        entry = self._evaluation(trainer, task, "val", checkpoint)
        self.evaluations |= entry
        (name,) = entry
        if trainer.is_global_zero:
            self.ranked[name] = self._rank(trainer, task, "val", name, self.run.directory)

    @rank_zero_only
    def write(self, trainer: Trainer, task: DenseTask, diverged: dict[str, Any] | None = None) -> None:
        """Write the record of a finished training, with the kept validations.

        Args:
            trainer: The trainer.
            task: The task.
            diverged: `step` and `reason` if the training diverged; the record then has no scores.
        """
        network = task.network
        record = {
            "format": 1,
            "run": self.run.names,
            "evaluations": self.evaluations,
            "best": None if diverged else self._best(task),
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
        record |= {"initialized": self.initialized} if self.initialized else {}
        write_json(self.run.results_file, record | ({"diverged": diverged} if diverged else {}))
        for tracker in trackers(trainer.loggers):
            log_record(tracker, record)
            for name, samples in self.ranked.items():
                tracker.log_ranked(slug(name), samples, trainer.global_step)
            log_files(tracker, self.run, record, self.log_options)

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        """Add a validation during training to the curve, or one of a checkpoint to the record."""
        assert isinstance(task, DenseTask)
        if not task.results["val"].view:
            self.pooling_activity = list(task.results["val"].pooling_activity)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            score = task.primary_score
            value = task.results["val"].scores.known().get(score.name, math.nan)
            self.curve.append({"epoch": trainer.current_epoch + 1, "step": trainer.global_step, score.name: value})
            known = [point[score.name] for point in self.curve if not math.isnan(point[score.name])]
            for tracker in trackers(trainer.loggers) if known else ():
                tracker.log_best(score, score.best(known))
        if trainer.state.fn == "validate" and self.checkpoint:
            self._add(trainer, task, "val", f"val of {self.checkpoint.name}", self.checkpoint)

    def on_test_end(self, trainer: Trainer, task: LightningModule) -> None:
        """Add the test's scores to the record."""
        assert isinstance(task, DenseTask)
        assert self.checkpoint is not None
        self._add(trainer, task, "test", "test", self.checkpoint)

    @rank_zero_only
    def _add(self, trainer: Trainer, task: DenseTask, stage: str, name: str, checkpoint: Path) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it outside the class
            return
        # The scores of another run's checkpoint, or of an imported model, are written next to it and not into this run.
        home, step = checkpoint if checkpoint.is_dir() else checkpoint.parent, trainer.global_step
        entry = self._evaluation(trainer, task, stage, checkpoint.name, name)
        for key, evaluation in entry.items():
            ranked, stem = self._rank(trainer, task, stage, key, home), home / slug(key)
            if "confusion" in evaluation:
                table, files = per_class_table(evaluation), save_scores(stem, evaluation)
            else:
                table, files = value_table(evaluation), save_value_scores(stem, evaluation, _samples(trainer, task, stage))
            metrics = evaluation.get("metrics", {})
            own = "".join(f"{name}: {measured['value']:.4g}\n" for name, measured in metrics.items())
            print(f"{key}\n{table}\n{own}written: {', '.join(map(str, [*files, _image_scores(home, key)]))}")
            for tracker in trackers(trainer.loggers):
                tracker.log_scores(slug(key), evaluation, step)
                tracker.log_ranked(slug(key), ranked, step)
                tracker.save_files([*files, _image_scores(home, key)])
        if self.run.owns(checkpoint) and self.run.results_file.is_file():
            results = json.loads(self.run.results_file.read_text())
            results["evaluations"] |= entry
            write_json(self.run.results_file, results)
            for tracker in trackers(trainer.loggers):
                tracker.save_files([self.run.results_file])

    def _evaluation(
        self, trainer: Trainer, task: DenseTask, stage: str, checkpoint: str | None, name: str | None = None
    ) -> dict[str, dict[str, Any]]:
        result = task.results[stage]
        limit = trainer.limit_test_batches if stage == "test" else trainer.limit_val_batches
        evaluation = {
            "checkpoint": checkpoint,
            "split": _datamodule(trainer).splits[stage],
            # Scores of a part of the split are marked as such.
            **({} if limit == 1.0 and isinstance(limit, float) else {"limit_batches": limit}),
            **result.to_dict(),
        }
        return {", ".join(part for part in (name or stage, result.view) if part): evaluation}

    def _rank(self, trainer: Trainer, task: DenseTask, stage: str, name: str, home: Path) -> list[RankedSample]:
        """Write the scores of all images, and predict those that the loggers show."""
        write_image_scores(_image_scores(home, name), task, stage)
        number, samples = self.log_options.ranked, self.log_options.samples
        if not (number or samples) or not trackers(trainer.loggers) or not can_predict(trainer):
            return []
        return rank_images(trainer, task, stage, _split(trainer, stage), number, samples)

    def _best(self, task: DenseTask) -> dict[str, Any] | None:
        value = self.best.best_model_score if self.best else None
        return None if value is None else {"checkpoint": BEST, task.primary_score.name: value.item()}


def _image_scores(home: Path, name: str) -> Path:
    return home / f"{slug(name)}-images.csv"


def _samples(trainer: Trainer, task: DenseTask, stage: str) -> list[ValueSample]:
    """Samples of the evaluated split with predicted values."""
    if not can_predict(trainer):
        return []
    dataset = _split(trainer, stage)
    with trainer.precision_plugin.forward_context():
        samples = predict_samples(task, dataset, spread(len(dataset), LogOptions.samples))
    return [sample for sample in samples if isinstance(sample, ValueSample)]


def _split(trainer: Trainer, stage: str) -> DenseDataset:
    data = _datamodule(trainer)
    return data.testing if stage == "test" else data.validation


def _datamodule(trainer: Trainer) -> DenseDataModule:
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it outside the class
