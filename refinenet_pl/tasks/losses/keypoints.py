"""Loss of keypoint positions, computed from heatmaps."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from refinenet_pl.tasks.losses.value_loss import ValueLoss

Distance = Literal["l1", "l2"]


class SoftArgmax(ValueLoss):
    """Distance between the expected and the true position of each keypoint, as a share of the image's diagonal.

    The expected position is the mean of pixel positions, weighted by the softmax of prediction / temperature over the channel's
    valid pixels. The true position is the pixel of the target channel's max (the first one in row order). A keypoint counts if
    its channel has a valid pixel and a positive max; the weight is the number of these keypoints.

    Sources: Nibali et al., "Numerical Coordinate Regression with Convolutional Neural Networks", arXiv:1801.07372, 2018 (L2);
    Sun et al., "Integral Human Pose Regression", ECCV 2018 (L1).

    Args:
        temperature: Divides the predictions. The sources learn unbounded scores with temperature 1. For heatmaps in 0..1, a
            pixel of 0 has exp(-20) = 2e-9 of the weight of a pixel of 1 at 0.05, so a large background does not shift the mean.
        distance: `l1`: |dx| + |dy|. `l2`: the Euclidean distance.
    """

    def __init__(self, temperature: float = 0.05, distance: Distance = "l1"):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; it must be greater than 0")
        if distance not in get_args(Distance):
            raise ValueError(f"distance is {distance!r}; it can be {' or '.join(map(repr, get_args(Distance)))}")
        self.temperature = temperature
        self.distance = distance

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        height, width = target.shape[-2:]
        peak, position = target.where(valid, -math.inf).flatten(2).max(-1)
        counted = peak > 0
        # The lowest finite number instead of -inf, so that the softmax of a channel without valid pixels is not NaN.
        scores = (prediction / self.temperature).where(valid, torch.finfo(prediction.dtype).min)
        probability = scores.flatten(2).softmax(-1).unflatten(-1, (height, width))
        columns, rows = (torch.arange(size, dtype=probability.dtype, device=probability.device) for size in (width, height))
        # No matrix product: autocast would compute it in low precision.
        column, row = (probability.sum(-2) * columns).sum(-1), (probability.sum(-1) * rows).sum(-1)
        offset = torch.stack([column - position % width, row - position // width])
        distance = torch.linalg.vector_norm(offset, ord=1 if self.distance == "l1" else 2, dim=0)
        return (distance / math.hypot(height, width)).where(counted, 0).sum(1), counted.sum(1)
