"""The 5x5 pooling of chained residual pooling."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Of the values of a strip of rows in `pool_along_sides`; the indices beside them are then of 32 MiB, the most that is kept when
# freed.
CHUNK_BYTES = 16 * 2**20

_WINDOW = {"kernel_size": [5, 5], "stride": [1, 1], "padding": [2, 2]}


def pool(x: Tensor) -> Tensor:
    """The greatest of 5x5 values, with stride 1: float (N, C, H, W) -> the same shape."""
    if torch.compiler.is_dynamo_compiling() and torch.is_grad_enabled():
        return _pool(x)[0]
    return F.max_pool2d(x, **_WINDOW)


def pool_along_sides(x: Tensor) -> Tensor:
    """The same as the greatest along one side of the greatest along the other: 10 comparisons and not 25.

    On CPUs, where freed memory is kept, faster than `pool`; and large maps are pooled strip by strip of rows, for beside the
    values torch makes indices of twice their size. Not for training: of several values that are the greatest, as zeros often
    are, it passes the gradient to another.
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


# torch.compile writes out the 25 comparisons of each pooling's backward pass, and thinks about their indices without end: a
# RefineNet block did not compile in five minutes. As operators of their own it calls torch's kernels for them.
@torch.library.custom_op("refinenet_pl::pool", mutates_args=())
def _pool(x: Tensor) -> tuple[Tensor, Tensor]:
    return F.max_pool2d(x, **_WINDOW, return_indices=True)


@torch.library.custom_op("refinenet_pl::pool_backward", mutates_args=())
def _pool_backward(gradient: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    window = {**_WINDOW, "dilation": [1, 1], "ceil_mode": False, "indices": indices}
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    gradient = gradient.contiguous(memory_format=layout)
    return torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, **window).contiguous(memory_format=layout)


@_pool.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x, dtype=torch.int64)


@_pool_backward.register_fake
def _(gradient: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], output[1])


def _backward(ctx, gradient: Tensor, _: Tensor | None) -> Tensor:
    return _pool_backward(gradient, *ctx.saved_tensors)


_pool.register_autograd(_backward, setup_context=_keep)
