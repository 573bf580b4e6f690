"""Computation on upsampled score maps in chunks of rows, in bounded memory."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from refinenet_pl.models.ops.chunked_upsampling import chunks, sampling, upsample_chunk
from refinenet_pl.models.ops.resize import Upsampling

Result = TypeVar("Result")


def upsampler(scores: Tensor, size: Sequence[int], how: Upsampling) -> Callable[[Tensor, slice], Tensor]:
    """Prepare the upsampling of maps with the size, dtype and device of a score map.

    Args:
        scores: Float (N, C, h, w).
        size: (height, width) after upsampling.
        how: Upsampling method.

    Returns:
        Function of maps, float (any, any, h, w), and rows of the result. It returns these rows, float (any, any, rows, width).
    """
    if tuple(scores.shape[-2:]) == tuple(size):
        return lambda maps, rows: maps[..., rows, :]
    rows_sampling, columns_sampling = (
        sampling(source, target, how, scores.dtype, scores.device)
        for source, target in zip(scores.shape[-2:], size, strict=True)
    )
    return lambda maps, rows: upsample_chunk(maps, rows_sampling, columns_sampling, rows)


def over_chunks(
    function: Callable[[Tensor, slice], Result], scores: Tensor, size: tuple[int, int], how: Upsampling
) -> list[Result]:
    """Apply a function to upsampled scores, one chunk of rows at a time, and again in the backward pass.

    At most a few chunks (`CHUNK_BYTES`) are in memory, for any number of classes and any size. A single chunk is kept for the
    backward pass instead of recomputed.

    Args:
        function: Maps upsampled scores, float (N, C, rows, width), and their rows to tensors.
        scores: Float (N, C, h, w).
        size: (height, width) after upsampling.
        how: Upsampling method.

    Returns:
        The function's result for each chunk, in the order of the rows.
    """
    upsample = upsampler(scores, size, how)

    def upsampled(scores: Tensor, rows: slice) -> Result:
        return function(upsample(scores, rows), rows)

    row_slices = chunks(scores.shape, size)
    if len(row_slices) == 1:
        return [upsampled(scores, row_slices[0])]
    return [checkpoint(upsampled, scores, rows, use_reentrant=False, preserve_rng_state=False) for rows in row_slices]
