"""Averaging what several views of a picture say about it, at the picture's size, without ever holding all of it."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from refinenet_pl.evaluation.strips import (
    Sampling,
    constants,
    enlarge_strip,
    exact_products,
    resize_matrix,
    sampling,
    strips,
    to_sampling,
)
from refinenet_pl.network.resize import Upsampling, resize

# The authors' code clamps log probabilities here before it resizes them.
LOG_FLOOR = -20.0


class View(NamedTuple):
    """What the network made of one scaled picture.

    Attributes:
        logits: Float32 (N, C, h, w).
        size: (height, width) of the scaled picture.
        covered: (height, width) in the scaled picture's pixels that the logits cover; `size` or, for tiles, a little more to
            the right and below.
        flipped: Whether the picture was mirrored.
        how: How the network's logits are enlarged.
    """

    logits: Tensor
    size: tuple[int, int]
    covered: tuple[int, int]
    flipped: bool
    how: Upsampling


def average(views: list[View], size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Mean of the views' softmax probabilities at the given size.

    Args:
        views: Of the same pictures.
        size: (height, width) of the labels.

    Yields:
        Rows and their log probabilities, float32 (N, C, rows, width).
    """
    samplings = [_view_samplings(view, size) for view in views]
    for rows in strips(views[0].logits.shape, size):
        parts = (enlarge_strip(view.logits, *sides, rows) for view, sides in zip(views, samplings, strict=True))
        if len(views) == 1:
            yield rows, next(parts).log_softmax(1)
            continue
        total = next(parts).softmax(1)
        for part in parts:
            total += part.softmax(1)
        yield rows, total.div_(len(views)).clamp_(min=torch.finfo(total.dtype).tiny).log_()


def fuse_in_log_space(views: list[View], size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """The authors' fusion of scales: a running mean of 8-bit probabilities, enlarged in log space with MATLAB's bicubic kernel.

    A single view does not pass through 8 bits.

    Args:
        views: Of the same pictures, in the order of their scales.
        size: (height, width) of the labels.

    Yields:
        Rows and their log probabilities, float32 (N, C, rows, width).
    """
    maps = ((view.logits.flip(-1) if view.flipped else view.logits).softmax(1) for view in views)
    fused = next(maps)
    if len(views) > 1:
        fused = _eight_bits(fused) / len(views)
        for other in maps:
            other = _eight_bits(other) / len(views)
            target = tuple(max(pair) for pair in zip(fused.shape[-2:], other.shape[-2:], strict=True))
            fused = _resize_probabilities(fused, target) + _resize_probabilities(other, target)
        fused = fused.clamp(0, 1)
    logs = fused.log().clamp(min=LOG_FLOOR)
    sides = zip(logs.shape[-2:], size, strict=True)
    samplings = [sampling(of, to, "bicubic", logs.dtype, logs.device) for of, to in sides]
    for rows in strips(logs.shape, size):
        # Resized logarithms are no longer those of probabilities that sum to 1; which one is largest does not change.
        yield rows, enlarge_strip(logs, *samplings, rows).log_softmax(1)


def _eight_bits(probabilities: Tensor) -> Tensor:
    return probabilities.mul(255).round().div(255)


def _resize_probabilities(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(probabilities.shape[-2:]) == size:
        return probabilities
    with exact_products(probabilities.device):
        return resize(probabilities.log().clamp(min=LOG_FLOOR), size, "bicubic").exp()


def _view_samplings(view: View, size: tuple[int, int]) -> tuple[Sampling, Sampling]:
    """From the view's rows and columns to those of the labels: to the scaled picture's first, then to the labels'."""
    logits = view.logits
    sides = zip(logits.shape[-2:], view.covered, view.size, size, (False, view.flipped), strict=True)
    return tuple(_view_sampling(*side, view.how, logits.dtype, logits.device) for side in sides)


@lru_cache(maxsize=64)
def _view_sampling(
    cells: int, covered: int, scaled: int, target: int, flipped: bool, how: Upsampling, dtype: torch.dtype, device: torch.device
) -> Sampling:
    with constants():
        matrix = resize_matrix(scaled, target, "bilinear", dtype) @ resize_matrix(cells, covered, how, dtype)[:scaled]
        return to_sampling(matrix.flip(0) if flipped else matrix, device)
