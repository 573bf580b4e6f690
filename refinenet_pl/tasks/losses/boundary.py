"""Loss of segmentation with higher weights at the borders of classes."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.tasks.losses.pixel_losses import PixelLoss


class BoundaryCrossEntropy(PixelLoss):
    """Cross-entropy over labeled pixels, with higher weights near the borders of classes; the weight is their sum.

    For class weight w_y and distance d, the weight of a pixel is w_y (1 + factor exp(-d^2 / (2 sigma^2))). d is the chessboard
    distance in pixels to the nearest labeled pixel of another class, as in `BoundaryCounts`; beyond 4 sigma, the exponential is
    set to 0. Distances extend across ignored pixels, because some datasets have a band of them along borders. The edge of an
    ignored region is no border.

    Source: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, Eq. 2, with d in
    place of the sum of the distances to two cells, because segmentation does not separate instances.

    The loss of Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019, is not used: it needs a distance
    map of each class for each crop, computed on the CPU, and a second loss with a schedule of their weights.

    Args:
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each.
        factor: Additional weight at a border, at least 0; 10 in the source.
        sigma: Width in pixels of the labels, greater than 0; about 5 in the source.
    """

    def __init__(
        self,
        ignore_index: int,
        class_weights: Sequence[float] | None = None,
        factor: float = 10.0,
        sigma: float = 5.0,
    ):
        super().__init__(ignore_index, class_weights)
        if not 0 <= factor < math.inf:
            raise ValueError(f"factor is {factor}; it must be finite and at least 0")
        if not 0 < sigma < math.inf:
            raise ValueError(f"sigma is {sigma}; it must be finite and greater than 0")
        self.factor = factor
        self.sigma = sigma

    def pixel_weights(self, label: Tensor, dtype: torch.dtype) -> Tensor:
        """See `PixelLoss.pixel_weights`."""
        reach = math.floor(4 * self.sigma)
        distance = border_distance(label, self.ignore_index, reach).to(dtype)
        near = (-(distance / self.sigma).square() / 2).exp() * (distance <= reach)
        return self.label_weights(label, dtype) * (1 + self.factor * near)


def border_distance(label: Tensor, ignore_index: int, reach: int) -> Tensor:
    """Compute the chessboard distance of each labeled pixel to the nearest labeled pixel of another class.

    Args:
        label: int64 (N, H, W).
        ignore_index: Label of the pixels to ignore.
        reach: Max distance to find, in pixels.

    Returns:
        int64 (N, H, W), `reach + 1` if there is none; undefined at ignored pixels.
    """
    ids = label[:, None].float()  # exact up to 2**24
    ignored = (label == ignore_index)[:, None]
    # One map for all classes: a window has another class if its max or its min is not the pixel's id.
    largest, smallest = ids.masked_fill(ignored, -math.inf), (-ids).masked_fill(ignored, -math.inf)
    distance = torch.ones_like(label)
    for _ in range(reach):
        largest, smallest = (F.max_pool2d(x, 3, 1, 1) for x in (largest, smallest))
        distance += ((largest == ids) & (smallest == -ids))[:, 0]
    return distance
