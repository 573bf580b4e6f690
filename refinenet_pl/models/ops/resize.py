"""Resizing of images and feature maps; the only place where it is defined."""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.models.ops import symbolic_shapes
from refinenet_pl.models.ops.bicubic import Factor, exact_factors, resize_bicubic

Upsampling = Literal["bilinear", "bilinear_aligned", "bicubic"]


def resize(x: Tensor, size: Sequence[int], how: Upsampling) -> Tensor:
    """Resize a batch of maps.

    Args:
        x: Float (N, C, H, W).
        size: (height, width) of the result.
        how: `bilinear` (the paper); `bilinear_aligned`, with the centers of the corner pixels aligned (the PyTorch ports);
            `bicubic` (the authors' MATLAB code).

    Returns:
        Float (N, C, *size); `x` itself if it has that size.
    """
    if not symbolic_shapes.are_open() and tuple(x.shape[-2:]) == tuple(size):
        return x
    if how == "bicubic":
        return resize_bicubic(x, size)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=how == "bilinear_aligned")


def upsample(x: Tensor, size: Sequence[int], how: Upsampling) -> Tensor:
    """Upsample feature maps for the sum with larger ones: `resize`, except for `bicubic`.

    The authors' GPU code has one factor for both sides, the larger one, and crops the result to the size.
    """
    if how != "bicubic" or (not symbolic_shapes.are_open() and tuple(x.shape[-2:]) == tuple(size)):
        return resize(x, size, how)
    factor = Factor.max(*exact_factors(x, size))
    return resize_bicubic(x, size, (factor, factor))
