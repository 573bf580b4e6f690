"""Curves of single classes in the loggers."""

from collections.abc import Mapping

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.metrics.confusion import Scores
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tracking.trackers import trackers


class ClassCurves(Callback):
    """Shows the IoU of classes in the loggers at each validation during training.

    Args:
        number: Max number of classes; of more classes, the rarest.
    """

    def __init__(self, number: int):
        self.number = number

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        """Log the IoU of the chosen classes on the first process."""
        assert isinstance(task, DenseTask)
        result = task.results["val"]
        if trainer.sanity_checking or trainer.state.fn != "fit" or not isinstance(result.scores, Scores) or result.view:
            return
        iou = {name: value for name in rarest(result.scores, self.number) if (value := result.scores.iou[name]) is not None}
        for tracker in trackers(trainer.loggers) if iou else ():
            tracker.log_class_curves("val", iou, trainer.global_step)


def rarest(scores: Scores, number: int) -> list[str]:
    """Choose the classes with the fewest labeled pixels, at least one, in the order of the classes.

    Args:
        scores: Scores of a split.
        number: Max number of classes.
    """
    labeled: Mapping[str, int] = dict(zip(scores.iou, np.array(scores.confusion).sum(1).tolist(), strict=True))
    present = [name for name, pixels in labeled.items() if pixels]
    chosen = set(sorted(present, key=lambda name: labeled[name])[:number])
    return [name for name in present if name in chosen]
