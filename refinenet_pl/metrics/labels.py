"""Scores of labels that are not exclusive, from counts of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from refinenet_pl.metrics.score import Score, ScoreSet
from refinenet_pl.metrics.values import ValuesMetric, check_prediction, check_values, named, numbers

_SCORES = ("label_miou", "label_f1", "label_precision", "label_recall")


@dataclass(frozen=True)
class LabelScores(ScoreSet):
    """Scores of binary masks, from the true positives TP, false positives FP and false negatives FN of each label in a split.

    Each score is the mean over the labels for which it is defined, that is, its denominator is not 0.

    Attributes:
        label_miou: Mean of the labels' IoU, TP / (TP + FP + FN). Pixels without the label have no IoU, unlike the background in
            the mIoU of classes.
        label_f1: Mean of F1 (Dice), 2 TP / (2 TP + FP + FN).
        label_precision: Mean of TP / (TP + FP).
        label_recall: Mean of TP / (TP + FN).
        per_label: Each of these scores by label; None for a label for which it is not defined.
    """

    SCORES: ClassVar = (
        Score("label_miou", "label mIoU"),
        Score("label_f1", "F1"),
        Score("label_precision", "precision"),
        Score("label_recall", "recall"),
    )

    label_miou: float | None
    label_f1: float | None
    label_precision: float | None
    label_recall: float | None
    per_label: dict[str, dict[str, float | None]]


class LabelCounts(ValuesMetric):
    """True positives, false positives and false negatives of each label; see `LabelScores`.

    The counts are integers, so they are equal for any order and number of processes.

    Args:
        names: Names of the labels.
        threshold: Probability above which a label is predicted, in 0..1.

    Raises:
        ValueError: The threshold is not above 0 and below 1.
    """

    higher_is_better = True
    counts: Tensor

    def __init__(self, names: Sequence[str], threshold: float = 0.5):
        super().__init__()
        if not 0 < threshold < 1:
            raise ValueError(f"threshold is {threshold}; it must be above 0 and below 1")
        self.names = list(names)
        self.threshold = threshold
        self.add_state("counts", torch.zeros(3, len(names), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
        """Count one batch.

        Args:
            prediction: Probabilities, float (N, C, H, W).
            target: 0 or 1, float (N, C, H, W).
            valid: Bool (N, C, H, W); other pixels do not count.

        Raises:
            ValueError: The shapes do not fit, or a valid target is not finite.
            FloatingPointError: A prediction that counts is not finite.
        """
        check_values(prediction, target, valid, len(self.names))
        check_prediction(prediction, valid)
        predicted, labeled = prediction > self.threshold, target > 0.5
        kinds = predicted & labeled, predicted & ~labeled, ~predicted & labeled
        self.counts += torch.stack([(kind & valid).sum((0, 2, 3)) for kind in kinds]).to(self.counts.device)

    def compute(self) -> Tensor:
        """Compute the scores over all processes.

        Returns:
            float64 (4, C): IoU, F1, precision and recall; NaN for a label for which a score is not defined.
        """
        true, false, missed = self.counts.double()
        either = true + false + missed
        return torch.stack([true / either, 2 * true / (true + either), true / (true + false), true / (true + missed)])

    def scores(self) -> LabelScores:
        """Compute the scores over all processes."""
        found = self.compute()
        miou, f1, precision, recall = numbers(found.nanmean(1))
        per_label = {score: named(self.names, row) for score, row in zip(_SCORES, found, strict=True)}
        return LabelScores(miou, f1, precision, recall, per_label)
