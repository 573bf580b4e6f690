"""MATLAB's `imresize(..., 'bicubic')`, with which the authors resize pictures and feature maps.

torch's own bicubic kernels differ: one has another curve (a = -0.75), and both go on otherwise beyond the edge. Here two matrix
products, with the weights of the rows and of the columns, are the whole of it, at any size and on any device.
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor


class Factor(NamedTuple):
    """By how much a line grows: a ratio of whole numbers, int64 (1,). Tensors, for in an exported graph sizes are not known."""

    numerator: Tensor
    denominator: Tensor

    @classmethod
    def of(cls, numerator: int, denominator: int, like: Tensor) -> "Factor":
        """The ratio on the device of a tensor."""
        return cls(*(torch.full((1,), whole, dtype=torch.int64, device=like.device) for whole in (numerator, denominator)))

    @classmethod
    def greatest(cls, one: "Factor", other: "Factor") -> "Factor":
        """The greater of two."""
        numerator = torch.maximum(one.numerator * other.denominator, other.numerator * one.denominator)
        return cls(numerator, one.denominator * other.denominator)


def resize_bicubic(x: Tensor, size: tuple[int, int], factors: tuple[Factor, Factor] | None = None) -> Tensor:
    """Resample a batch of maps.

    Args:
        x: Float (N, C, H, W).
        size: Wanted (height, width).
        factors: By how much the height and the width grow. None for what leads from the one size to the other; with more,
            what goes beyond `size` is cut off, as where MATLAB is given a factor.

    Returns:
        Float (N, C, *size), with the channels last in memory.
    """
    pictures, channels, height, width = x.shape
    factors = factors or exact_factors(x, size)
    rows, columns = (
        bicubic_matrix(source, target, factor, x) for source, target, factor in zip((height, width), size, factors, strict=True)
    )
    # Autocast would round what is no product of a network: the picture itself, and the weights' sum of 1.
    automatic = torch.is_autocast_enabled(x.device.type)
    with torch.autocast(x.device.type, enabled=False) if automatic else nullcontext():
        x = rows @ x.permute(0, 2, 3, 1).reshape(pictures, height, width * channels)
        x = columns @ x.reshape(pictures, size[0], width, channels)
    return x.permute(0, 3, 1, 2)


def exact_factors(x: Tensor, size: tuple[int, int]) -> tuple[Factor, Factor]:
    """What leads from the size of a batch of maps to another, for its height and its width."""
    rows, columns = (Factor.of(target, source, x) for target, source in zip(size, x.shape[-2:], strict=True))
    return rows, columns


def bicubic_matrix(source: int, target: int, factor: Factor, like: Tensor) -> Tensor:
    """The weights of a line's values in those of the resized line.

    Args:
        source: Number of values.
        target: Number of values wanted, at least 2 unless `source` is 1.
        factor: By how much the line grows.
        like: Tensor of the wanted dtype and device.

    Returns:
        (target, source).
    """
    # float16 cannot hold the weights' sum of 1.
    precision = torch.promote_types(like.dtype, torch.float32)
    # Twice the values' places, in whole numbers, for float32 cannot hold a place and a distance as exactly.
    to = (2 * torch.arange(target, device=like.device)[:, None] + 1) * factor.denominator
    of = (2 * torch.arange(source, device=like.device) + 1) * factor.numerator
    # Beyond its ends the line goes on mirrored, the last value twice: its values and its mirrored values, again and again. The
    # kernel is no wider than that, so that only the nearest of them count.
    half = 2 * source * factor.numerator
    distance = torch.remainder(torch.stack((to - of, to + of)) + half, 2 * half) - half
    # The kernel widens where the line shrinks.
    unit = 2 * torch.maximum(factor.numerator, factor.denominator)
    weights = _kernel(distance.to(precision) / unit).sum(0)
    return (weights / weights.sum(1, keepdim=True)).to(like.dtype)


def _kernel(distance: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -0.5; 0 from a distance of 2."""
    d = distance.abs().clamp(max=2)
    return torch.where(d <= 1, (1.5 * d - 2.5) * d * d + 1, ((2.5 - 0.5 * d) * d - 4) * d + 2)
