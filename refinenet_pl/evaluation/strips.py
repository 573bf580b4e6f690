"""Score maps enlarged to the size of pictures, some rows at a time, so that memory does not grow with size and classes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from refinenet_pl.network.resize import Upsampling, resize

STRIP_BYTES = 16 * 2**20
"""Size of the class scores of one strip of rows; three to four tensors of it exist at a time."""


def strips(shape: Sequence[int], size: tuple[int, int]) -> list[slice]:
    """Cut the rows of enlarged maps.

    Args:
        shape: (N, C, h, w) of the maps before.
        size: (height, width) of the maps after.
    """
    rows = max(1, STRIP_BYTES // (4 * shape[0] * shape[1] * size[1]))
    return [slice(top, min(top + rows, size[0])) for top in range(0, size[0], rows)]


def resize_matrix(source: int, target: int, how: Upsampling, like: Tensor) -> Tensor:
    """`resize` along one side as a matrix, (target, source): what it makes of each unit vector."""
    unit = torch.eye(source, dtype=like.dtype, device=like.device)[None, :, None, :]
    with exact_products(like.device):
        return resize(unit, (1, target), how)[0, :, 0].T


def enlarge_strip(scores: Tensor, rows: Tensor, columns: Tensor, strip: slice) -> Tensor:
    """Some rows of an enlarged map: (N, C, h, w) -> (N, C, rows of the strip, width).

    Args:
        scores: Float (N, C, h, w).
        rows: Matrix from h to the height, see `resize_matrix`.
        columns: Matrix from w to the width.
        strip: Which rows.
    """
    weights, first, last = rows[strip], 0, scores.shape[-2]
    if len(weights) < len(rows):  # only the rows of the map that these rows are made of
        used = weights.abs().amax(0).nonzero()
        first, last = int(used[0]), int(used[-1]) + 1
    with exact_products(scores.device):
        return weights[:, first:last] @ scores[..., first:last, :] @ columns.T


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
