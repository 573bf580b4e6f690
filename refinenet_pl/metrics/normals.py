"""Angles between predicted and true surface normals."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from refinenet_pl.dtypes import to_float64
from refinenet_pl.metrics.score import Score, ScoreSet
from refinenet_pl.metrics.values import ValuesMetric, check_prediction, check_values, numbers

BINS_PER_DEGREE = 100
_THRESHOLDS = (11.25, 22.5, 30.0)


@dataclass(frozen=True)
class NormalScores(ScoreSet):
    """Angles between predicted and true surface normals, over all pixels.

    Source: normals/eval/eval_pred_sn.m of github.com/aayushbansal/MarrRevisited (Bansal et al., CVPR 2016).

    Attributes:
        mean_angle: Mean.
        median_angle: Median of the angles rounded to 0.01 degrees; at most 0.005 degrees from the median.
        rmse_angle: Root of the mean of the squares.
        below_11_25: Share of pixels with an angle of less than 11.25 degrees.
        below_22_5: Share of pixels with an angle of less than 22.5 degrees.
        below_30: Share of pixels with an angle of less than 30 degrees.
    """

    SCORES: ClassVar = (
        Score("mean_angle", "mean angle", "\N{DEGREE SIGN}", False),
        Score("median_angle", "median angle", "\N{DEGREE SIGN}", False),
        Score("rmse_angle", "RMSE of angle", "\N{DEGREE SIGN}", False),
        Score("below_11_25", "below 11.25\N{DEGREE SIGN}"),
        Score("below_22_5", "below 22.5\N{DEGREE SIGN}"),
        Score("below_30", "below 30\N{DEGREE SIGN}"),
    )

    mean_angle: float | None
    median_angle: float | None
    rmse_angle: float | None
    below_11_25: float | None
    below_22_5: float | None
    below_30: float | None


class NormalErrors(ValuesMetric):
    """Angles between predicted and true surface normals; see `NormalScores`.

    A median is not a sum: it is computed from an integer histogram of the angles rounded to 0.01 degrees, so it is equal for
    any order and number of processes.
    """

    histogram: Tensor
    below: Tensor
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("histogram", torch.zeros(180 * BINS_PER_DEGREE + 1, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("below", torch.zeros(len(_THRESHOLDS), dtype=torch.long), dist_reduce_fx="sum")
        # Angles and their squares.
        self.add_state("sums", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add one batch.

        Args:
            prediction: Float (N, 3, H, W), of any length; the angle of a vector of length 0 is 90 degrees.
            target: Float (N, 3, H, W), of any length.
            valid: Bool (N, 3, H, W); a pixel counts if all three are valid.

        Raises:
            ValueError: The shapes do not fit, or a valid target is not finite.
            FloatingPointError: A prediction that counts is not finite.
        """
        check_values(prediction, target, valid, 3)
        counted = valid.all(1)
        check_prediction(prediction, counted[:, None].expand_as(prediction))
        angle = angles(*(to_float64(vectors.movedim(1, -1)[counted]) for vectors in (prediction, target)))
        bins = (angle * BINS_PER_DEGREE).round().long()
        self.histogram += torch.bincount(bins, minlength=len(self.histogram))
        self.below += torch.stack([(angle < limit).sum() for limit in _THRESHOLDS])
        self.sums += torch.stack([angle.sum(), angle.square().sum()])

    def compute(self) -> Tensor:
        """Compute the scores over all processes.

        Returns:
            float64 (6,), in the order of the attributes of `NormalScores`; NaN without a pixel that counts.
        """
        count = self.histogram.sum()
        mean, squared = self.sums / count
        return torch.stack([mean, self._median(), squared.sqrt(), *(self.below.double() / count)])

    def _median(self) -> Tensor:
        ranks = self.histogram.cumsum(0)
        if ranks[-1] == 0:
            return self.sums.new_tensor(float("nan"))
        # The middle angle, or both middle angles of an even number.
        middle = torch.stack([(ranks[-1] - 1) // 2, ranks[-1] // 2])
        return torch.searchsorted(ranks, middle, right=True).double().mean() / BINS_PER_DEGREE

    def scores(self) -> NormalScores:
        """Compute the scores over all processes."""
        return NormalScores(*numbers(self.compute()))


def angles(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the angles between vectors.

    Args:
        prediction: Float (..., 3), of any length.
        target: Float (..., 3), of any length.

    Returns:
        Degrees (...), in 0..180; 90 if the length of a vector is 0.
    """
    # Unlike the arc cosine of the normalized vectors' dot product, this is precise for angles near 0 and 180 degrees.
    sine, cosine = torch.linalg.cross(prediction, target).norm(dim=-1), (prediction * target).sum(-1)
    return torch.atan2(sine, cosine).rad2deg().masked_fill((sine == 0) & (cosine == 0), 90.0)
