"""5x5 max-pooling of chained residual pooling."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_BYTES = 16 * 2**20
"""Size of the values of one chunk of rows in `pool_along_sides`.

torch also computes indices, then 32 MiB: the largest size that the CPU allocator keeps when it is freed.
"""

_KERNEL, _STRIDE, _PADDING = [5, 5], [1, 1], [2, 2]


def pool(x: Tensor) -> Tensor:
    """Compute the maximum of 5x5 values, with stride 1: float (N, C, H, W) -> the same shape."""
    if torch.compiler.is_dynamo_compiling() and torch.is_grad_enabled():
        return _pool(x)[0]
    return F.max_pool2d(x, _KERNEL, _STRIDE, _PADDING)


def pool_along_sides(x: Tensor) -> Tensor:
    """Compute `pool` as a maximum along each side: 10 comparisons instead of 25.

    On CPUs, where freed memory is kept, this is faster than `pool`. Large maps are pooled in chunks of rows, because torch also
    computes indices of twice the size of the values. Not for training: if several values are the maximum, as zeros often are,
    another one gets the gradient.
    """
    number, channels, height, width = x.shape
    rows = max(1, CHUNK_BYTES // (x.element_size() * number * channels * width))
    if rows >= height:
        return _along_sides(x)
    out = torch.empty_like(x)
    for top in range(0, height, rows):
        first, bottom = max(top - 2, 0), min(top + rows, height)
        out[:, :, top:bottom] = _along_sides(x[:, :, first : bottom + 2])[:, :, top - first : bottom - first]
    return out


def _along_sides(x: Tensor) -> Tensor:
    return F.max_pool2d(F.max_pool2d(x, (1, 5), 1, (0, 2)), (5, 1), 1, (2, 0))


# torch.compile unrolls the 25 comparisons of each pooling's backward pass, and simplifying their indices takes too long: a
# RefineNet block did not compile in five minutes. For custom operators, it calls torch's kernels.
@torch.library.custom_op("refinenet_pl::pool", mutates_args=())
def _pool(x: Tensor) -> tuple[Tensor, Tensor]:
    return F.max_pool2d(x, _KERNEL, _STRIDE, _PADDING, return_indices=True)


@torch.library.custom_op("refinenet_pl::pool_backward", mutates_args=())
def _pool_backward(gradient: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    gradient = gradient.contiguous(memory_format=layout)
    result = torch.ops.aten.max_pool2d_with_indices_backward(
        gradient, x, _KERNEL, _STRIDE, _PADDING, dilation=[1, 1], ceil_mode=False, indices=indices
    )
    return result.contiguous(memory_format=layout)


@_pool.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x, dtype=torch.int64)


@_pool_backward.register_fake
def _(gradient: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], output[1])


def _backward(ctx: Any, gradient: Tensor, _: Tensor | None) -> Tensor:
    return _pool_backward(gradient, *ctx.saved_tensors)


_pool.register_autograd(_backward, setup_context=_keep)
