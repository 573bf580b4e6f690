"""MATLAB's `imresize(..., 'bicubic')`, with which the authors resize images and feature maps.

torch's bicubic kernels differ: one has another curve (a = -0.75), and both pad differently at the edges. Here, two matrix
products with the weights of the rows and of the columns compute the result, at any size and on any device.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor


class Factor(NamedTuple):
    """Scale factor of one side as a ratio of integers, int64 (1,); tensors, because sizes are unknown in an exported graph."""

    numerator: Tensor
    denominator: Tensor

    @classmethod
    def of(cls, numerator: int, denominator: int, like: Tensor) -> "Factor":
        """Create a factor on the device of a tensor."""
        return cls(*(torch.full((1,), whole, dtype=torch.int64, device=like.device) for whole in (numerator, denominator)))

    @classmethod
    def max(cls, one: "Factor", other: "Factor") -> "Factor":
        """Return the larger of two factors."""
        numerator = torch.maximum(one.numerator * other.denominator, other.numerator * one.denominator)
        return cls(numerator, one.denominator * other.denominator)


def resize_bicubic(x: Tensor, size: Sequence[int], factors: tuple[Factor, Factor] | None = None) -> Tensor:
    """Resize a batch of maps.

    Args:
        x: Float (N, C, H, W).
        size: (height, width) of the result.
        factors: Scale factors of height and width. None for those between the two sizes; with larger ones, the result is
            cropped to `size`, as when MATLAB is given a factor.

    Returns:
        Float (N, C, *size), in channels_last memory format.
    """
    number, channels, height, width = x.shape
    factors = factors or exact_factors(x, size)
    rows, columns = (
        bicubic_matrix(source, target, factor, x) for source, target, factor in zip((height, width), size, factors, strict=True)
    )
    # Autocast would round the values of an image, and the weights, whose sum is 1.
    automatic = torch.is_autocast_enabled(x.device.type)
    with torch.autocast(x.device.type, enabled=False) if automatic else nullcontext():
        x = rows @ x.permute(0, 2, 3, 1).reshape(number, height, width * channels)
        x = columns @ x.reshape(number, size[0], width, channels)
    return x.permute(0, 3, 1, 2)


def exact_factors(x: Tensor, size: Sequence[int]) -> tuple[Factor, Factor]:
    """Return the factors of height and width from the size of a batch of maps to another size."""
    rows, columns = (Factor.of(target, source, x) for target, source in zip(size, x.shape[-2:], strict=True))
    return rows, columns


def bicubic_matrix(source: int, target: int, factor: Factor, like: Tensor) -> Tensor:
    """Compute the matrix that resizes one side.

    Args:
        source: Number of values.
        target: Number of resized values, at least 2 unless `source` is 1.
        factor: Scale factor of the side.
        like: Tensor with the dtype and device of the result.

    Returns:
        Float (target, source), each row with the sum 1.
    """
    # float16 cannot represent the weights' sum of 1.
    precision = torch.promote_types(like.dtype, torch.float32)
    # Twice the positions, as integers, because float32 cannot represent a position and a distance exactly enough.
    to = (2 * torch.arange(target, device=like.device)[:, None] + 1) * factor.denominator
    of = (2 * torch.arange(source, device=like.device) + 1) * factor.numerator
    # The side is padded by reflection with the edge value repeated, so it has a period of its values and their reverse. The
    # kernel is no wider than a period, so only the nearest copy of each value counts.
    half = 2 * source * factor.numerator
    distance = torch.remainder(torch.stack((to - of, to + of)) + half, 2 * half) - half
    # The kernel is wider for downsampling.
    unit = 2 * torch.maximum(factor.numerator, factor.denominator)
    weights = _kernel(distance.to(precision) / unit).sum(0)
    return (weights / weights.sum(1, keepdim=True)).to(like.dtype)


def _kernel(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5; 0 from a distance of 2."""
    d = distance.abs().clamp(max=2)
    return torch.where(d <= 1, (1.5 * d - 2.5) * d * d + 1, ((2.5 - 0.5 * d) * d - 4) * d + 2)
