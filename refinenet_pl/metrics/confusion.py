"""Integer confusion matrix of a whole dataset, and the scores computed from it."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from refinenet_pl.metrics.score import Score, ScoreSet


@dataclass(frozen=True)
class Scores(ScoreSet):
    """Scores of a confusion matrix, in 0..1 and float64.

    A class counts if it occurs in the labels or, unless `labeled_only`, in the predictions.

    Attributes:
        miou: Mean intersection over union, TP / (TP + FP + FN), over the classes that count.
        pixel_accuracy: Share of labeled pixels that are predicted correctly.
        mean_accuracy: Mean of `accuracy` over the classes with labeled pixels.
        frequency_weighted_iou: Mean of the IoU, weighted by the classes' shares of the labeled pixels.
        iou: IoU of each class; None for a class that does not count.
        accuracy: Share of each class's labeled pixels that are predicted correctly; None for a class without labeled pixels.
        absent_classes: Names of the classes without labeled pixels.
        confusion: Pixel counts; rows are labels, columns predictions. A column in addition to the classes counts the labeled
            pixels that were predicted as void, which are errors in every score.
        boundary_miou: `miou` of the pixels along borders, see `BoundaryCounts`; None if they were not counted.
        boundary_iou: `iou` of these pixels.
        boundary_counts: Their counts for each class: along both borders, along the label's, and along the prediction's.
    """

    SCORES: ClassVar = (
        Score("miou", "mIoU"),
        Score("pixel_accuracy", "pixel accuracy"),
        Score("mean_accuracy", "mean accuracy"),
        Score("frequency_weighted_iou", "frequency-weighted IoU"),
        Score("boundary_miou", "boundary mIoU"),
    )

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float
    iou: dict[str, float | None]
    accuracy: dict[str, float | None]
    absent_classes: list[str]
    confusion: list[list[int]]
    boundary_miou: float | None = None
    boundary_iou: dict[str, float | None] | None = None
    boundary_counts: list[list[int]] | None = None


def scores(confusion: np.ndarray, names: list[str], labeled_only: bool = False, boundary: np.ndarray | None = None) -> Scores:
    """Compute the scores of a confusion matrix and of the counts along borders.

    Args:
        confusion: Integer (classes, classes), or (classes, classes + 1) if void can be predicted; rows are labels, columns
            predictions.
        names: Names of the classes.
        labeled_only: Leave a class that was predicted but does not occur in the labels out of the mean IoU, as the authors do,
            instead of counting it as 0.
        boundary: Integer (3, classes) from `BoundaryCounts`, or None.

    Returns:
        The scores; NaN if no class occurs.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    correct = np.diag(counts)
    true_positive = correct.astype(np.float64)
    labeled, predicted = counts.sum(1), counts.sum(0)[: len(names)]
    union = labeled + predicted - correct
    with np.errstate(invalid="ignore", divide="ignore"):
        counted = (labeled > 0) | ((union > 0) & (not labeled_only))
        iou = np.where(counted, true_positive / union, np.nan)
        accuracy = np.where(labeled > 0, true_positive / labeled, np.nan)
        share = labeled / labeled.sum()
    return Scores(
        miou=_mean(iou),
        pixel_accuracy=float(true_positive.sum() / labeled.sum()) if labeled.sum() else float("nan"),
        mean_accuracy=_mean(accuracy),
        frequency_weighted_iou=float(np.nansum(share * iou)) if labeled.sum() else float("nan"),
        iou=_named(names, iou),
        accuracy=_named(names, accuracy),
        absent_classes=[name for name, pixels in zip(names, labeled, strict=True) if pixels == 0],
        confusion=counts.tolist(),
        **({} if boundary is None else _along_borders(np.asarray(boundary), names, counted)),
    )


def _along_borders(counts: np.ndarray, names: list[str], counted: np.ndarray) -> dict[str, Any]:
    both, label, prediction = counts
    union = label + prediction - both
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = np.where(counted & (union > 0), both / union, np.nan)
    return {"boundary_miou": _mean(iou), "boundary_iou": _named(names, iou), "boundary_counts": counts.tolist()}


class ConfusionMatrix(Metric):
    """Integer counts of (label, prediction) pairs: exact, independent of the order and the number of processes.

    The metric of torchmetrics is not used because it needs gigabytes per image if the Trainer is deterministic, and because its
    scores are float32 and count classes that never occur as 0.

    Args:
        classes: Number of classes.
        ignore_index: Label of the pixels that do not count.
        predicts_void: A prediction can be void, with the id `classes`.
    """

    full_state_update = False
    higher_is_better = True
    counts: Tensor

    def __init__(self, classes: int, ignore_index: int, predicts_void: bool = False):
        super().__init__()
        self.classes = classes
        self.ignore_index = ignore_index
        self.predictions = classes + predicts_void
        self.add_state("counts", torch.zeros(classes, self.predictions, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch.

        Args:
            prediction: Integer class ids of any shape.
            label: Integer class ids and `ignore_index`, of the same shape.

        Raises:
            ValueError: The shapes differ, or an id is out of range and would be counted in the row of another class.
        """
        if prediction.shape != label.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} must have the same shape")
        valid = label != self.ignore_index
        label, prediction = label[valid].long(), prediction[valid].long()
        for name, ids, known in ("label", label, self.classes), ("prediction", prediction, self.predictions):
            if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= known):
                raise ValueError(f"{name} ids are in {int(ids.min())}..{int(ids.max())}; they must be in 0..{known - 1}")
        pairs = torch.bincount(label * self.predictions + prediction, minlength=self.counts.numel())
        self.counts += pairs.reshape(self.counts.shape)

    def compute(self) -> Tensor:
        """Sum the counts over all processes.

        Returns:
            int64 (classes, classes), or (classes, classes + 1) with void; rows are labels, columns predictions.
        """
        return self.counts


def image_miou(prediction: Tensor, label: Tensor, metric: ConfusionMatrix, labeled_only: bool = False) -> list[float]:
    """Compute the mean IoU of each image of a batch, see `Scores.miou`.

    Args:
        prediction: Integer class ids (N, H, W).
        label: Integer class ids and the ignored label (N, H, W).
        metric: Metric with the classes; it is not changed.
        labeled_only: See `scores`.

    Returns:
        N numbers; NaN for an image without labeled pixels.
    """
    names, found = [str(index) for index in range(metric.classes)], []
    for guess, truth in zip(prediction, label, strict=True):
        single = ConfusionMatrix(metric.classes, metric.ignore_index, metric.predictions > metric.classes).to(label.device)
        single.update(guess, truth)
        found.append(scores(single.counts.cpu().numpy(), names, labeled_only).miou)
    return found


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _named(names: list[str], values: np.ndarray) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
