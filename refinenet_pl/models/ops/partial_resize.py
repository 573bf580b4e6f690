"""Resizing along one side with pieces of its matrix, for sizes for which the whole matrix would be too large.

The whole matrix grows with the square of the size, and nearly all of its values are zero.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, gcd
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.models.ops.chunked_upsampling import constants, exact_products, resize_matrix
from refinenet_pl.models.ops.resize import Upsampling, resize

Interpolation = Upsampling | Literal["antialiased"]
"""A method of `resize`, or bilinear with antialiasing."""

BLOCK_COLUMNS = 256
"""Number of columns that are upsampled at a time."""


class Piece(NamedTuple):
    """Consecutive rows of a matrix that resizes one side.

    Attributes:
        used: Columns of the whole matrix; outside them, these rows are zero.
        matrix: Float (rows, used columns).
    """

    used: slice
    matrix: Tensor


def blocks(width: int) -> list[slice]:
    """Divide the columns of upsampled maps into blocks."""
    return [slice(left, min(left + BLOCK_COLUMNS, width)) for left in range(0, width, BLOCK_COLUMNS)]


def upsample_piece(scores: Tensor, rows: Piece, columns: Sequence[Piece]) -> Tensor:
    """Compute some rows of an upsampled map.

    Args:
        scores: Float (N, C, h, w), the rows that `rows` uses.
        rows: From h to the rows of the result.
        columns: From w to the width, for each of its `blocks`.

    Returns:
        Float (N, C, rows, width).
    """
    with exact_products(scores.device):
        lines = rows.matrix @ scores
        return torch.cat([lines[..., piece.used] @ piece.matrix.T for piece in columns], -1)


def resize_rows(source: int, target: int, how: Interpolation, rows: slice, dtype: torch.dtype) -> Piece:
    """Compute some rows of `resize_matrix`, on the CPU.

    Args:
        source: Length of the side before resizing.
        target: Length of the side after resizing.
        how: Interpolation method.
        rows: Rows of the matrix, at least one.
        dtype: Dtype of the matrix.
    """
    if source == target:
        return Piece(rows, torch.eye(rows.stop - rows.start, dtype=dtype, device="cpu"))
    if how == "bicubic":
        return _periodic_rows(source, target, how, rows, dtype)
    reach = _reach(source, target)
    weights, centers = _weights(source, target, how, dtype)
    first, last = max(0, int(centers[rows.start]) - reach), min(source, int(centers[rows.stop - 1]) + reach + 1)
    columns = torch.arange(first, last, device="cpu")
    near = (columns - centers[rows, None]).abs() <= reach
    return Piece(slice(first, last), weights[rows][:, columns % weights.shape[1]] * near)


@lru_cache(maxsize=64)
def _weights(source: int, target: int, how: Interpolation, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`resize_matrix` without the zeros.

    Returns:
        The weights, (target, n): column c of the matrix is column c modulo n here, in rows whose center is near it. The
        centers, int64 (target,): the column in the middle of each row's weights.
    """
    number = 2 * _reach(source, target) + 1
    with constants():
        # The sum of every n-th unit vector: they are too far apart for two of them to contribute to the same result.
        units = torch.eye(number, dtype=dtype, device="cpu").repeat(1, ceil(source / number))[None, :, None, :source]
        if how == "antialiased":
            weights = F.interpolate(units, (1, target), mode="bilinear", antialias=True)
        else:
            weights = resize(units, (1, target), how)
        centers = (2 * torch.arange(target, device="cpu") + 1) * source // (2 * target)
        return weights[0, :, 0].T.contiguous(), centers


def _periodic_rows(source: int, target: int, how: Upsampling, rows: slice, dtype: torch.dtype) -> Piece:
    """Rows of `resize_matrix` from a shorter side of the same ratio, because the weights repeat with each period of the ratio.

    For `bicubic`, for which `resize` computes the whole matrix. Sides that are multiples of the tiles' grid have short periods.
    """
    periods = gcd(source, target)
    before, after = source // periods, target // periods
    around = ceil(_reach(source, target) / before)
    first, last = max(0, rows.start // after - around), min(periods, ceil(rows.stop / after) + around)
    with constants():
        matrix = resize_matrix((last - first) * before, (last - first) * after, how, dtype)
    return Piece(slice(first * before, last * before), matrix[rows.start - first * after : rows.stop - first * after])


def _reach(source: int, target: int) -> int:
    """Maximum distance, in columns of `resize_matrix`, of a weight from the center of its row."""
    return ceil(2 * max(1, source / target)) + 1
