"""The integer confusion matrix over a whole data set, and every score reduced from it."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says, all in 0..1 and in float64.

    Attributes:
        miou: Mean over the classes that occur of the intersection over union, TP / (TP + FP + FN).
        pixel_accuracy: Share of labelled pixels that are right.
        mean_accuracy: Mean over the classes that have labelled pixels of the share of those that are right.
        frequency_weighted_iou: Mean of the IoU, weighted with the classes' shares of the labelled pixels.
        iou: IoU of each class; None for one that neither occurs in the labels nor was predicted, which the means leave out.
        accuracy: Share of each class's labelled pixels that are right; None for one without.
        absent_classes: Names of the classes without a labelled pixel. One that was predicted has IoU 0 and counts.
        confusion: Pixel counts; rows are labels, columns predictions.
    """

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float
    iou: dict[str, float | None]
    accuracy: dict[str, float | None]
    absent_classes: list[str]
    confusion: list[list[int]]

    def to_dict(self) -> dict:
        return asdict(self)


def scores(confusion: np.ndarray, names: list[str]) -> Scores:
    """Reduce a confusion matrix.

    Args:
        confusion: Integer (classes, classes); rows are labels, columns predictions.
        names: The classes' names.

    Returns:
        The scores; NaN where no class occurs at all.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    true_positive = np.diag(counts).astype(np.float64)
    labelled, predicted = counts.sum(1), counts.sum(0)
    union = labelled + predicted - np.diag(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = np.where(union > 0, true_positive / union, np.nan)
        accuracy = np.where(labelled > 0, true_positive / labelled, np.nan)
        share = labelled / labelled.sum()
    return Scores(
        miou=_mean(iou),
        pixel_accuracy=float(true_positive.sum() / labelled.sum()) if labelled.sum() else float("nan"),
        mean_accuracy=_mean(accuracy),
        frequency_weighted_iou=float(np.nansum(share * iou)) if labelled.sum() else float("nan"),
        iou=_named(names, iou),
        accuracy=_named(names, accuracy),
        absent_classes=[name for name, pixels in zip(names, labelled, strict=True) if pixels == 0],
        confusion=counts.tolist(),
    )


class ConfusionMatrix(Metric):
    """Counts (label, prediction) pairs over a data set as integers: exact, in any order, on any number of processes.

    torchmetrics has one as well. It is not used because it takes gigabytes for an image as soon as a Trainer is asked to be
    deterministic, and because its scores are float32 and count classes that never occur as 0.

    Args:
        classes: Number of classes.
        ignore_index: Label of void pixels, which are dropped.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, classes: int, ignore_index: int):
        super().__init__()
        self.classes = classes
        self.ignore_index = ignore_index
        self.add_state("counts", torch.zeros(classes, classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch.

        Args:
            prediction: Integer class ids, any shape.
            label: Integer class ids and `ignore_index`, the same shape.

        Raises:
            ValueError: The shapes differ, or an id is no class's. Such an id would be counted in another class's row.
        """
        if prediction.shape != label.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} must be of one shape")
        valid = label != self.ignore_index
        label, prediction = label[valid].long(), prediction[valid].long()
        for what, ids in ("label", label), ("prediction", prediction):
            if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= self.classes):
                raise ValueError(f"{what} ids span {int(ids.min())}..{int(ids.max())}, but there are {self.classes} classes")
        pairs = torch.bincount(label * self.classes + prediction, minlength=self.classes**2)
        self.counts += pairs.reshape(self.classes, self.classes)

    def compute(self) -> Tensor:
        """The counts of all processes: int64 (classes, classes), rows are labels, columns predictions."""
        return self.counts


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _named(names: list[str], values: np.ndarray) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
