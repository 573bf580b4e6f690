"""Predictions on a few validation images, equal in all runs of a dataset."""

import warnings
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.callbacks.predicted_samples import can_predict, predict_samples, spread
from refinenet_pl.callbacks.sample_files import write_samples
from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tracking.trackers import trackers
from refinenet_pl.visualization.sample import Sample


class SampleWriter(Callback):
    """Predicts a few images, evenly spread over the validation split, at the start of each validation during training.

    It writes their files to `samples` in the run's directory, see `write_samples`, and shows them in the loggers. Larger images
    are first downsampled. If a file cannot be written, the callback warns, and training continues.

    Args:
        directory: Directory of the run.
        number: Number of images; 0 for none.
    """

    def __init__(self, directory: Path, number: int):
        self.folder = directory / "samples"
        self.number = number
        self.samples: list[Sample] = []
        self.logged: int | None = None

    @rank_zero_only
    def on_validation_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Predict, write and log the samples on the first process."""
        # Not at the end of a validation: a callback that averages weights restores the others before it.
        assert isinstance(task, DenseTask)
        debugging = trainer.fast_dev_run  # type: ignore[attr-defined]  # Lightning sets it outside the class
        skipped = trainer.sanity_checking or debugging or not self.number
        if skipped or task.evaluator("val").inference.name or not can_predict(trainer):
            return
        data: DenseDataModule = trainer.datamodule
        with trainer.precision_plugin.forward_context():
            self.samples = predict_samples(task, data.validation, spread(len(data.validation), self.number))
        try:
            write_samples(self.folder, self.samples)
        except OSError as error:
            warnings.warn(f"the sample images could not be written: {error}", stacklevel=2)
        if trainer.global_step != self.logged:  # a final validation after the last one of the training predicts them again
            self.logged = trainer.global_step
            for tracker in trackers(trainer.loggers):
                tracker.log_samples(self.samples, trainer.global_step)
