"""Losses of continuous targets by name, and their combinations."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from refinenet_pl.tasks.losses.depth import BerHu, GradientMatching, ScaleInvariantLog
from refinenet_pl.tasks.losses.keypoints import SoftArgmax
from refinenet_pl.tasks.losses.pointwise import L1, L2, Cosine
from refinenet_pl.tasks.losses.value_loss import ValueLoss, sum_per_image

LOSSES: dict[str, type[ValueLoss]] = {
    "l1": L1,
    "l2": L2,
    "berhu": BerHu,
    "silog": ScaleInvariantLog,
    "gradient": GradientMatching,
    "cosine": Cosine,
    "soft_argmax": SoftArgmax,
}


class WeightedSum(ValueLoss):
    """Weighted sum of the means of several losses.

    The losses count different things (values, pixels, keypoints), but a step's gradients can be divided by one number only,
    see `GlobalMeanLoss`. The mean of each loss over an image is therefore multiplied by the image's number of valid values,
    which is the weight of the sum. On any number of processes, `total / weight` is the weighted sum of the losses' means over
    images, in which an image counts as often as it has valid values:

    - For `l1`, `l2`, `berhu`, `silog` and `gradient` (which count values) and `cosine` (a constant share of the values), this
      mean equals `total / weight` of the loss alone.
    - For `soft_argmax`, it equals that only if the ratio of keypoints that count to valid values is the same in all images. An
      image with valid values but no keypoint that counts contributes 0.

    Args:
        losses: The losses to add.
        weights: Factor of each one.
    """

    def __init__(self, losses: Sequence[ValueLoss], weights: Sequence[float]):
        super().__init__()
        if not losses or len(losses) != len(weights):
            raise ValueError(f"{len(losses)} losses and {len(weights)} weights; give at least one loss and one weight for each")
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(weights)

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        count = sum_per_image(valid)
        total = prediction.new_zeros(len(prediction))
        for loss, factor in zip(cast(Sequence[ValueLoss], self.losses), self.weights, strict=True):
            part, weight = loss.per_image(prediction, target, valid)
            total = total + factor * (part / weight.clamp(min=1) * count)
        return total, count
