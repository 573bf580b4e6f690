"""Averages of several views of an image at the image's size, computed in chunks of rows to limit the memory."""

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

LOG_FLOOR = -20.0
"""Min log probability, to which the authors' code clamps before it resizes."""


class View(NamedTuple):
    """Logits of one view of an image.

    Attributes:
        logits: Float32 or float64 (N, C, h, w).
        size: (height, width) of the scaled image.
        covered: (height, width) in pixels of the scaled image that the logits cover: `size` or, for tiles, up to one grid cell
            more at the right and at the bottom.
        flipped: True if the image was horizontally flipped.
        how: Method by which the network's logits are upsampled.
        in_pieces: Upsample with a piece of each matrix at a time, for images of any size.
    """

    logits: Tensor | TiledScoreMap
    size: tuple[int, int]
    covered: tuple[int, int]
    flipped: bool
    how: Upsampling
    in_pieces: bool = False


def average(views: list[View], size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Average the views' softmax probabilities at the given size.

    Args:
        views: Views of the same images.
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
    """Fuse scales as the authors do: a running mean of 8-bit probabilities, upsampled in log space with MATLAB's bicubic.

    A single view is not rounded to 8 bits.

    Args:
        views: Views of the same images, processed whole, in the order of their scales.
        size: (height, width) of the labels.

    Yields:
        Rows and their log probabilities, float32 (N, C, rows, width).
    """
    maps = map(_probabilities, views)
    fused = next(maps)
    if len(views) > 1:
        fused = _eight_bits(fused) / len(views)
        for other in maps:
            other = _eight_bits(other) / len(views)
            target = max(fused.shape[-2], other.shape[-2]), max(fused.shape[-1], other.shape[-1])
            fused = _resize_probabilities(fused, target) + _resize_probabilities(other, target)
        fused = fused.clamp(0, 1)
    logs = fused.log().clamp(min=LOG_FLOOR)
    sides = zip(logs.shape[-2:], size, strict=True)
    down, across = (sampling(source, target, "bicubic", logs.dtype, logs.device) for source, target in sides)
    for rows in chunks(logs.shape, size):
        # After resizing, the probabilities no longer sum to 1; normalizing them does not change the largest one.
        yield rows, upsample_chunk(logs, down, across, rows).log_softmax(1)


def _probabilities(view: View) -> Tensor:
    assert isinstance(view.logits, Tensor)  # `Inference` refuses tiles here
    return (view.logits.flip(-1) if view.flipped else view.logits).softmax(1)


def _eight_bits(probabilities: Tensor) -> Tensor:
    return probabilities.mul(255).round().div(255)


def _resize_probabilities(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(probabilities.shape[-2:]) == size:
        return probabilities
    with exact_products(probabilities.device):
        return resize(probabilities.log().clamp(min=LOG_FLOOR), size, "bicubic").exp()


class Side(NamedTuple):
    """Lengths of one side of a view: in cells of the logits, in pixels of the scaled image, and in pixels of the labels.

    Attributes:
        cells: Rows or columns of the logits.
        covered: Pixels of the scaled image that the logits cover.
        scaled: Pixels of the scaled image.
        target: Pixels of the labels.
        flipped: True if the side is flipped.
        how: Method by which the network's logits are upsampled.
        dtype: Dtype of the logits.
        device: Device of the logits.
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
    """Return a function that computes rows of a view's logits at the size of the labels, (N, C, rows, width)."""
    logits = view.logits
    lengths = zip(logits.shape[-2:], view.covered, view.size, size, (False, view.flipped), strict=True)
    down, across = (Side(*length, view.how, logits.dtype, logits.device) for length in lengths)
    if isinstance(logits, Tensor) and not view.in_pieces:
        return partial(upsample_chunk, logits, _view_sampling(down), _view_sampling(across))
    columns = [_view_piece(across, block) for block in blocks(size[1])]

    def upsample(rows: slice) -> Tensor:
        piece = _view_piece(down, rows)
        part = logits[:, :, piece.used] if isinstance(logits, Tensor) else logits.rows(piece.used)
        return upsample_piece(part, piece, columns)

    return upsample


@lru_cache(maxsize=64)
def _view_sampling(side: Side) -> Sampling:
    """Sampling from the view's cells to pixels of the scaled image, and from these to pixels of the labels."""
    with constants():
        to_pixels = resize_matrix(side.cells, side.covered, side.how, side.dtype)[: side.scaled]
        matrix = resize_matrix(side.scaled, side.target, "bilinear", side.dtype) @ to_pixels
        return to_sampling(matrix.flip(0) if side.flipped else matrix, side.device)


def _view_piece(side: Side, rows: slice) -> Piece:
    """Rows of the matrix of `_view_sampling`."""
    if side.flipped:
        rows = slice(side.target - rows.stop, side.target - rows.start)
    with constants():
        pixels, to_target = resize_rows(side.scaled, side.target, "bilinear", rows, side.dtype)
        used, to_pixels = resize_rows(side.cells, side.covered, side.how, pixels, side.dtype)
        matrix = to_target @ to_pixels
        return Piece(used, (matrix.flip(0) if side.flipped else matrix).contiguous().to(side.device))
