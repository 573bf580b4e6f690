"""Percentage of correct keypoints (PCK), from heatmaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from refinenet_pl.dtypes import to_float64
from refinenet_pl.metrics.score import Score, ScoreSet
from refinenet_pl.metrics.values import ValuesMetric, check_prediction, check_values, named, numbers

Position = Literal["argmax", "soft_argmax"]

_THRESHOLDS = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class KeypointScores(ScoreSet):
    """Shares of labeled keypoints whose predicted position is near the target's.

    Near: at most 5, 10 or 20 % of the reference length away; see `KeypointAccuracy`. As in `keypoint_pck_accuracy` of
    mmpose/evaluation/functional/keypoint_eval.py of github.com/open-mmlab/mmpose, the mean is over keypoints, not over labels.

    Attributes:
        pck_5: Mean of the keypoints' shares within 0.05 of the reference length, over the keypoints with a label.
        pck_10: The same within 0.1.
        pck_20: The same within 0.2.
        per_keypoint: Each of these shares by keypoint; None for a keypoint without a label.
    """

    SCORES: ClassVar = (Score("pck_10", "PCK@0.1"), Score("pck_5", "PCK@0.05"), Score("pck_20", "PCK@0.2"))

    pck_5: float | None
    pck_10: float | None
    pck_20: float | None
    per_keypoint: dict[str, dict[str, float | None]]


class KeypointAccuracy(ValuesMetric):
    """Percentage of correct keypoints (PCK), from heatmaps; see `KeypointScores`.

    The target's position is the pixel with the max of its channel. The reference length is the diagonal of the heatmap, which
    always exists, unless `update` gets a length for each image, such as the size of the person or of the head: published
    scores use different lengths, so they are comparable only with the same one.

    Args:
        names: Names of the keypoints.
        position: Predicted position: `argmax`, the pixel with the channel's max, or `soft_argmax`, the mean of all pixels'
            positions weighted by the softmax of `sharpness` times the channel.
        sharpness: Factor of `soft_argmax`. The higher, the closer to `argmax`.
    """

    higher_is_better = True
    counts: Tensor

    def __init__(self, names: Sequence[str], position: Position = "argmax", sharpness: float = 100.0):
        super().__init__()
        if position not in get_args(Position):
            raise ValueError(f"position is {position!r}; it must be one of {', '.join(get_args(Position))}")
        self.names = list(names)
        self.position = position
        self.sharpness = sharpness
        # Labeled keypoints, and those within each threshold.
        self.add_state("counts", torch.zeros(1 + len(_THRESHOLDS), len(names), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor, length: Tensor | None = None) -> None:
        """Count one batch.

        Args:
            prediction: Heatmaps, float (N, C, H, W).
            target: Heatmaps, float (N, C, H, W).
            valid: Bool (N, C, H, W). A keypoint without a valid pixel has no label and does not count. Positions are valid
                pixels.
            length: Reference length of each image in pixels of the heatmap, float (N,); None for the heatmap's diagonal.

        Raises:
            ValueError: The shapes do not fit, a valid target is not finite, or a length is not positive.
            FloatingPointError: A prediction that counts is not finite.
        """
        check_values(prediction, target, valid, len(self.names))
        check_prediction(prediction, valid)
        number, _, height, width = target.shape
        if length is None:
            length = torch.full((number,), height**2 + width**2, dtype=torch.float64, device=self.device).sqrt()
        elif length.shape != (number,) or not ((length > 0) & length.isfinite()).all():
            raise ValueError(f"length must have {number} positive, finite values, one per image; it is {length.tolist()}")
        limits = torch.tensor(_THRESHOLDS, dtype=torch.float64, device=self.device)[:, None, None] * to_float64(length)[:, None]

        labeled = valid.flatten(2).any(2).to(self.device)
        heat = to_float64(prediction).masked_fill(~valid.to(self.device), -torch.inf)
        found = _argmax(heat) if self.position == "argmax" else _soft_argmax(self.sharpness * heat)
        true = _argmax(target.masked_fill(~valid, -torch.inf)).to(self.device)
        near = (torch.hypot(*(found - true)) <= limits) & labeled
        self.counts += torch.cat([labeled.sum(0)[None], near.sum(1)])

    def compute(self) -> Tensor:
        """Compute the shares over all processes.

        Returns:
            float64 (3, C): within 0.05, 0.1 and 0.2 of the reference length; NaN for a keypoint without a label.
        """
        return self.counts[1:].double() / self.counts[0]

    def scores(self) -> KeypointScores:
        """Compute the scores over all processes."""
        shares = self.compute()
        pck_5, pck_10, pck_20 = numbers(shares.nanmean(1))
        per_keypoint = {score: named(self.names, row) for score, row in zip(("pck_5", "pck_10", "pck_20"), shares, strict=True)}
        return KeypointScores(pck_5, pck_10, pck_20, per_keypoint)


def _argmax(heat: Tensor) -> Tensor:
    """Rows and columns (2, N, C), float64, of the max of each channel."""
    index = heat.flatten(2).argmax(2)
    return to_float64(torch.stack([index // heat.shape[-1], index % heat.shape[-1]]))


def _soft_argmax(heat: Tensor) -> Tensor:
    """Rows and columns (2, N, C) weighted by the softmax of each channel; NaN for a channel without a finite value."""
    weights = heat.flatten(2).softmax(2).reshape(heat.shape)
    rows, columns = (torch.arange(size, dtype=heat.dtype, device=heat.device) for size in heat.shape[-2:])
    return torch.stack([weights.sum(3) @ rows, weights.sum(2) @ columns])
