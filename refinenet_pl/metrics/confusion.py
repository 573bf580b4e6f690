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
        miou: Mean over the classes that count of the intersection over union, TP / (TP + FP + FN).
        pixel_accuracy: Share of labelled pixels that are right.
        mean_accuracy: Mean over the classes that have labelled pixels of the share of those that are right.
        frequency_weighted_iou: Mean of the IoU, weighted with the classes' shares of the labelled pixels.
        iou: IoU of each class; None for one that does not count, which the means leave out: one that neither occurs in the
            labels nor was predicted or, as the authors count, one that does not occur in the labels.
        accuracy: Share of each class's labelled pixels that are right; None for one without.
        absent_classes: Names of the classes without a labelled pixel.
        confusion: Pixel counts; rows are labels, columns predictions. With one column more than rows, the last counts
            labelled pixels that were predicted to be void: errors, in every score.
        boundary_miou: As `miou`, of the pixels along borders, see `BoundaryCounts`; None where these were not counted.
        boundary_iou: As `iou`, of these.
        boundary_counts: Their counts: along both borders, along the label's, along the prediction's; for each class.
    """

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

    def to_dict(self) -> dict:
        return asdict(self)


def scores(confusion: np.ndarray, names: list[str], labelled_only: bool = False, boundary: np.ndarray | None = None) -> Scores:
    """Reduce a confusion matrix, and the counts along borders.

    Args:
        confusion: Integer (classes, classes), or (classes, classes + 1) where void can be predicted; rows are labels, columns
            predictions.
        names: The classes' names.
        labelled_only: Whether a class that was predicted but does not occur in the labels is left out of the mean IoU, as the
            authors do, instead of counting as 0.
        boundary: Integer (3, classes) as `BoundaryCounts` gives; None for none.

    Returns:
        The scores; NaN where no class occurs at all.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    correct = np.diag(counts)
    true_positive = correct.astype(np.float64)
    labelled, predicted = counts.sum(1), counts.sum(0)[: len(names)]
    union = labelled + predicted - correct
    with np.errstate(invalid="ignore", divide="ignore"):
        counted = (labelled > 0) | ((union > 0) & (not labelled_only))
        iou = np.where(counted, true_positive / union, np.nan)
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
        **({} if boundary is None else _along_borders(np.asarray(boundary), names, counted)),
    )


def _along_borders(counts: np.ndarray, names: list[str], counted: np.ndarray) -> dict:
    both, label, prediction = counts
    union = label + prediction - both
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = np.where(counted & (union > 0), both / union, np.nan)
    return {"boundary_miou": _mean(iou), "boundary_iou": _named(names, iou), "boundary_counts": counts.tolist()}


class ConfusionMatrix(Metric):
    """Counts (label, prediction) pairs over a data set as integers: exact, in any order, on any number of processes.

    torchmetrics has one as well. It is not used because it takes gigabytes for an image as soon as a Trainer is asked to be
    deterministic, and because its scores are float32 and count classes that never occur as 0.

    Args:
        classes: Number of classes.
        ignore_index: Label of void pixels, which are dropped.
        predicts_void: Whether a prediction may be void, which has the id `classes`.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, classes: int, ignore_index: int, predicts_void: bool = False):
        super().__init__()
        self.classes = classes
        self.ignore_index = ignore_index
        self.predictions = classes + predicts_void
        self.add_state("counts", torch.zeros(classes, self.predictions, dtype=torch.long), dist_reduce_fx="sum")

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
        for what, ids, known in ("label", label, self.classes), ("prediction", prediction, self.predictions):
            if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= known):
                raise ValueError(f"{what} ids span {int(ids.min())}..{int(ids.max())}, but there are {known} classes")
        pairs = torch.bincount(label * self.predictions + prediction, minlength=self.counts.numel())
        self.counts += pairs.reshape(self.counts.shape)

    def compute(self) -> Tensor:
        """The counts of all processes: int64 (classes, classes or one more), rows are labels, columns predictions."""
        return self.counts


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _named(names: list[str], values: np.ndarray) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
