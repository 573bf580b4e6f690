"""Score maps enlarged to the size of pictures, some rows at a time, so that memory does not grow with size and classes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from refinenet_pl.models.ops.resize import Upsampling, resize

CHUNK_BYTES = 16 * 2**20
"""Size of the class scores of one strip of rows; three to four tensors of it exist at a time."""


def chunks(shape: Sequence[int], size: tuple[int, int]) -> list[slice]:
    """Cut the rows of enlarged maps.

    Args:
        shape: (N, C, h, w) of the maps before.
        size: (height, width) of the maps after.
    """
    rows = max(1, CHUNK_BYTES // (4 * shape[0] * shape[1] * size[1]))
    return [slice(top, min(top + rows, size[0])) for top in range(0, size[0], rows)]


class Sampling(NamedTuple):
    """How one side of a map is enlarged.

    Attributes:
        matrix: Float (target, source), on the map's device.
        used: For each row of the matrix, its first column that is not zero and the one behind its last.
    """

    matrix: Tensor
    used: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def sampling(source: int, target: int, how: Upsampling, dtype: torch.dtype, device: torch.device) -> Sampling:
    """`resize` along one side; made once for each pair of sizes."""
    with constants():
        return to_sampling(resize_matrix(source, target, how, dtype), device)


def resize_matrix(source: int, target: int, how: Upsampling, dtype: torch.dtype) -> Tensor:
    """`resize` along one side as a matrix, (target, source), on the CPU: what it makes of each unit vector."""
    return resize(torch.eye(source, dtype=dtype, device="cpu")[None, :, None, :], (1, target), how)[0, :, 0].T


def to_sampling(matrix: Tensor, device: torch.device) -> Sampling:
    """Look where a matrix on the CPU has its values, for which a GPU would have to wait each time, and move it."""
    filled = matrix != 0
    first, last = filled.int().argmax(1), matrix.shape[1] - filled.flip(1).int().argmax(1)
    return Sampling(matrix.contiguous().to(device), tuple(zip(first.tolist(), last.tolist(), strict=True)))


def upsample_chunk(scores: Tensor, rows: Sampling, columns: Sampling, strip: slice) -> Tensor:
    """Some rows of an enlarged map: (N, C, h, w) -> (N, C, rows of the strip, width).

    Args:
        scores: Float (N, C, h, w).
        rows: From h to the height.
        columns: From w to the width.
        strip: Which rows.
    """
    used = rows.used[strip]  # only the rows of the map that these rows are made of
    first, last = min(first for first, _ in used), max(last for _, last in used)
    with exact_products(scores.device):
        return rows.matrix[strip, first:last] @ scores[..., first:last, :] @ columns.matrix.T


@contextmanager
def constants() -> Iterator[None]:
    """For tensors on the CPU that are kept: exact, and of use in training too, whatever they were first needed for."""
    with torch.inference_mode(False), torch.no_grad(), exact_products(torch.device("cpu")):
        yield


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Interpolation in full float32, whatever precision the network's own products are allowed."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(allowed)
