"""Averaging what several views of a picture say about it, at the picture's size, without ever holding all of it."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from refinenet_pl.evaluation.tiles import TiledScoreMap
from refinenet_pl.models.ops.chunked_upsampling import (
    Sampling,
    chunks,
    constants,
    exact_products,
    resize_matrix,
    sampling,
    to_sampling,
    upsample_chunk,
)
from refinenet_pl.models.ops.partial_resize import Piece, blocks, resize_rows, upsample_piece
from refinenet_pl.models.ops.resize import Upsampling, resize

# The authors' code clamps log probabilities here before it resizes them.
LOG_FLOOR = -20.0


class View(NamedTuple):
    """What the network made of one scaled picture.

    Attributes:
        logits: Float32 or float64 (N, C, h, w).
        size: (height, width) of the scaled picture.
        covered: (height, width) in the scaled picture's pixels that the logits cover; `size` or, for tiles, a little more to
            the right and below.
        flipped: Whether the picture was mirrored.
        how: How the network's logits are upsampled.
        in_pieces: Whether they are upsampled with a piece of each matrix at a time, for images of any size.
    """

    logits: Tensor | TiledScoreMap
    size: tuple[int, int]
    covered: tuple[int, int]
    flipped: bool
    how: Upsampling
    in_pieces: bool = False


def average(views: list[View], size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Mean of the views' softmax probabilities at the given size.

    Args:
        views: Of the same pictures.
        size: (height, width) of the labels.

    Yields:
        Rows and their log probabilities, float32 (N, C, rows, width).
    """
    upsampled = [_upsampled(view, size) for view in views]
    for rows in chunks(views[0].logits.shape, size):
        parts = (part(rows) for part in upsampled)
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
    for rows in chunks(logs.shape, size):
        # Resized logarithms are no longer those of probabilities that sum to 1; which one is largest does not change.
        yield rows, upsample_chunk(logs, *samplings, rows).log_softmax(1)


def _eight_bits(probabilities: Tensor) -> Tensor:
    return probabilities.mul(255).round().div(255)


def _resize_probabilities(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(probabilities.shape[-2:]) == size:
        return probabilities
    with exact_products(probabilities.device):
        return resize(probabilities.log().clamp(min=LOG_FLOOR), size, "bicubic").exp()


class Side(NamedTuple):
    """One side of a view: its length in cells, in pixels of the scaled image, and in those of the labels.

    Attributes:
        cells: Rows or columns of the logits.
        covered: Pixels of the scaled image that the logits cover.
        scaled: Pixels of the scaled image.
        target: Pixels of the labels.
        flipped: Whether the side is flipped.
        how: How the network's logits are upsampled.
        dtype: Of the logits.
        device: Of the logits.
    """

    cells: int
    covered: int
    scaled: int
    target: int
    flipped: bool
    how: Upsampling
    dtype: torch.dtype
    device: torch.device


def _upsampled(view: View, size: tuple[int, int]) -> Callable[[slice], Tensor]:
    """A view's logits at the size of the labels: a function from rows to (N, C, rows, width)."""
    logits = view.logits
    lengths = zip(logits.shape[-2:], view.covered, view.size, size, (False, view.flipped), strict=True)
    down, across = (Side(*length, view.how, logits.dtype, logits.device) for length in lengths)
    if not view.in_pieces:
        return partial(upsample_chunk, logits, _view_sampling(down), _view_sampling(across))
    columns = [_view_piece(across, block) for block in blocks(size[1])]

    def upsample(rows: slice) -> Tensor:
        piece = _view_piece(down, rows)
        part = logits[:, :, piece.used] if isinstance(logits, Tensor) else logits.rows(piece.used)
        return upsample_piece(part, piece, columns)

    return upsample


@lru_cache(maxsize=64)
def _view_sampling(side: Side) -> Sampling:
    """From the view's rows or columns to those of the labels: to the scaled image's first, then to the labels'."""
    with constants():
        to_pixels = resize_matrix(side.cells, side.covered, side.how, side.dtype)[: side.scaled]
        matrix = resize_matrix(side.scaled, side.target, "bilinear", side.dtype) @ to_pixels
        return to_sampling(matrix.flip(0) if side.flipped else matrix, side.device)


def _view_piece(side: Side, rows: slice) -> Piece:
    """Some rows of the matrix of `_view_sampling`."""
    if side.flipped:
        rows = slice(side.target - rows.stop, side.target - rows.start)
    with constants():
        pixels, to_target = resize_rows(side.scaled, side.target, "bilinear", rows, side.dtype)
        used, to_pixels = resize_rows(side.cells, side.covered, side.how, pixels, side.dtype)
        matrix = to_target @ to_pixels
        return Piece(used, (matrix.flip(0) if side.flipped else matrix).contiguous().to(side.device))
