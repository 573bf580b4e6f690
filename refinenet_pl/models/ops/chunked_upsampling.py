"""Upsampling of score maps in chunks of rows, so that memory does not grow with the image size and the number of classes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from refinenet_pl.models.ops.resize import Upsampling, resize

CHUNK_BYTES = 16 * 2**20
"""Size of the class scores of one chunk of rows; three to four tensors of this size exist at a time."""


def chunks(shape: Sequence[int], size: tuple[int, int]) -> list[slice]:
    """Divide the rows of upsampled maps into chunks.

    Args:
        shape: (N, C, h, w) of the maps before upsampling.
        size: (height, width) of the maps after upsampling.
    """
    rows = max(1, CHUNK_BYTES // (4 * shape[0] * shape[1] * size[1]))
    return [slice(top, min(top + rows, size[0])) for top in range(0, size[0], rows)]


class Sampling(NamedTuple):
    """Linear map that resizes one side.

    Attributes:
        matrix: Float (target, source), on the map's device.
        used: For each row of the matrix, the first column that is not zero and the one after the last.
    """

    matrix: Tensor
    used: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def sampling(source: int, target: int, how: Upsampling, dtype: torch.dtype, device: torch.device) -> Sampling:
    """Return `resize` along one side; computed once for each pair of sizes."""
    with constants():
        return to_sampling(resize_matrix(source, target, how, dtype), device)


def resize_matrix(source: int, target: int, how: Upsampling, dtype: torch.dtype) -> Tensor:
    """Compute `resize` along one side as a matrix (target, source) on the CPU, from its results for the unit vectors."""
    return resize(torch.eye(source, dtype=dtype, device="cpu")[None, :, None, :], (1, target), how)[0, :, 0].T


def to_sampling(matrix: Tensor, device: torch.device) -> Sampling:
    """Find the nonzero columns of a matrix while it is on the CPU, to avoid waiting for a GPU, and move it to a device."""
    filled = matrix != 0
    first, last = filled.int().argmax(1), matrix.shape[1] - filled.flip(1).int().argmax(1)
    return Sampling(matrix.contiguous().to(device), tuple(zip(first.tolist(), last.tolist(), strict=True)))


def upsample_chunk(scores: Tensor, rows: Sampling, columns: Sampling, chunk: slice) -> Tensor:
    """Compute a chunk of rows of an upsampled map.

    Args:
        scores: Float (N, C, h, w).
        rows: From h to the height.
        columns: From w to the width.
        chunk: Rows of the upsampled map.

    Returns:
        Float (N, C, rows of the chunk, width).
    """
    used = rows.used[chunk]  # only the rows of the map on which the chunk depends
    first, last = min(first for first, _ in used), max(last for _, last in used)
    with exact_products(scores.device):
        return rows.matrix[chunk, first:last] @ scores[..., first:last, :] @ columns.matrix.T


@contextmanager
def constants() -> Iterator[None]:
    """Compute cached CPU tensors exactly and without gradients, outside inference mode so that training can use them too."""
    with torch.inference_mode(False), torch.no_grad(), exact_products(torch.device("cpu")):
        yield


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Interpolate in full float32, regardless of the precision that the network's own products may have."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(allowed)
