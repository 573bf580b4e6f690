"""The one place where feature maps and pictures change their size."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.models.ops import symbolic_shapes
from refinenet_pl.models.ops.bicubic import Factor, exact_factors, resize_bicubic

Upsampling = Literal["bilinear", "bilinear_aligned", "bicubic"]


def resize(x: Tensor, size: tuple[int, int], how: Upsampling) -> Tensor:
    """Resample a batch of maps.

    Args:
        x: Float (N, C, H, W).
        size: Wanted (height, width).
        how: `bilinear` as the paper says; `bilinear_aligned` with the corner pixels' centres in place, as the PyTorch ports
            do; `bicubic` as the authors' MATLAB code does.

    Returns:
        Float (N, C, *size); `x` itself where it has that size already.
    """
    if not symbolic_shapes.are_open() and tuple(x.shape[-2:]) == tuple(size):
        return x
    if how == "bicubic":
        return resize_bicubic(x, size)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=how == "bilinear_aligned")


def upsample(x: Tensor, size: tuple[int, int], how: Upsampling) -> Tensor:
    """Resample feature maps for the sum with larger ones: as `resize`, but for `bicubic`.

    There the authors' code for GPUs has one factor for both sides, the greater one, and cuts off what goes beyond the size.
    """
    if how != "bicubic" or (not symbolic_shapes.are_open() and tuple(x.shape[-2:]) == tuple(size)):
        return resize(x, size, how)
    factor = Factor.greatest(*exact_factors(x, size))
    return resize_bicubic(x, size, (factor, factor))
