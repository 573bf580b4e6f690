"""Base class of what loggers show of a run in addition to the values that Lightning logs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refinenet_pl.metrics.score import Score
from refinenet_pl.visualization.sample import RankedSample, Sample


class Tracker:
    """Shows scores, images and files of a run in one logger. Methods of this base class do nothing.

    They are called on the first process only. A failure of the logger must not stop a training: implementations warn.
    """

    def log_best(self, score: Score, value: float) -> None:
        """Show the best validation score so far.

        Args:
            score: The primary score.
            value: Its stored value.
        """

    def log_class_curves(self, name: str, iou: dict[str, float], step: int) -> None:
        """Show the IoU of classes by training step, apart from other values.

        Args:
            name: Name of the evaluation, such as `val`.
            iou: IoU by class, in 0..1.
            step: Number of training steps.
        """

    def log_samples(self, samples: Sequence[Sample], step: int) -> None:
        """Show validation images with predictions, the same ones at each validation.

        Args:
            samples: The images.
            step: Number of training steps.
        """

    def log_scores(self, name: str, evaluation: dict[str, Any], step: int) -> None:
        """Show all scores of an evaluation, with those of each class or channel and the confusion matrix if there is one.

        Args:
            name: Name of the evaluation, such as `val`.
            evaluation: Scores as in results.json.
            step: Number of training steps.
        """

    def log_ranked(self, name: str, samples: Sequence[RankedSample], step: int) -> None:
        """Show the worst and the best images of a split.

        Args:
            name: Name of the evaluation, such as `val`.
            samples: The images, worst first.
            step: Number of training steps.
        """

    def save_files(self, files: Sequence[Path]) -> None:
        """Upload files of the run's directory.

        Args:
            files: The files.
        """

    def save_checkpoints(self, files: Sequence[Path], record: dict[str, Any]) -> None:
        """Upload the checkpoints of a finished run.

        Args:
            files: The files, `best.ckpt` and `last.ckpt`, as far as they exist.
            record: Content of results.json.
        """

    def use_dataset(self, facts: dict[str, Any]) -> None:
        """Note the dataset that the run uses, without its files.

        Args:
            facts: See `describe_dataset`.
        """

    def use_checkpoint(self, name: str) -> None:
        """Note the checkpoint of a training that the run evaluates.

        Args:
            name: Its file name, `best.ckpt` or `last.ckpt`.
        """
