"""The 5x5 pooling of chained residual pooling."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Of a strip of rows in `pool_along_sides`; four tensors of it exist at a time.
STRIP_BYTES = 16 * 2**20

_WINDOW = {"kernel_size": [5, 5], "stride": [1, 1], "padding": [2, 2]}


def pool(x: Tensor) -> Tensor:
    """The greatest of 5x5 values, with stride 1: float (N, C, H, W) -> the same shape."""
    if torch.compiler.is_dynamo_compiling() and torch.is_grad_enabled():
        return _pool(x)[0]
    return F.max_pool2d(x, **_WINDOW)


def pool_along_sides(x: Tensor) -> Tensor:
    """The same as the greatest along one side of the greatest along the other, each in 3 comparisons: 6 and not 25.

    On CPUs, where freed memory is kept, faster than `pool`, and of large maps it needs a third of the memory: no indices, and
    one strip of rows at a time. Not for training, where the gradient would have to pass through all of them.
    """
    number, channels, height, width = x.shape
    out, rows = torch.empty_like(x), max(1, STRIP_BYTES // (x.element_size() * number * channels * width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - 2, 0), min(bottom + 2, height)
        sides = (2, 2, first - (top - 2), bottom + 2 - last)
        strip = F.pad(x[:, :, first:last], sides, value=-torch.inf)
        # Of 2, of 4, of 5 neighbours.
        pairs = torch.maximum(strip[..., :-1], strip[..., 1:])
        fours = torch.maximum(pairs[..., :-2], pairs[..., 2:])
        strip = torch.maximum(fours[..., :-1], strip[..., 4:])
        pairs = torch.maximum(strip[:, :, :-1], strip[:, :, 1:])
        fours = torch.maximum(pairs[:, :, :-2], pairs[:, :, 2:])
        torch.maximum(fours[:, :, :-1], strip[:, :, 4:], out=out[:, :, top:bottom])
    return out


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
