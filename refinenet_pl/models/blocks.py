"""The parts of a RefineNet block (paper, Section 3.2 and Fig. 2), each a module of its own."""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from refinenet_pl.models.ops import symbolic_shapes
from refinenet_pl.models.ops.pooling import pool
from refinenet_pl.models.ops.resize import Upsampling, upsample

Shortcut = Literal["identity", "relu"]
PoolingOrder = Literal["pool_conv", "conv_pool"]


def convolution(in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps the size of the map. The authors' decoder has a bias only where this is told so."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


class ResidualConvUnit(nn.Module):
    """Residual convolution unit (RCU): x + conv(relu(conv(relu(x)))), without batch normalisation.

    The first convolution has a bias, the second has none, as in the authors' code. The shortcut carries `x` as it came, not
    rectified: no ReLU here is in place.

    Args:
        channels: Channels in and out.
        kernel_size: Odd; 3 in the paper.
        shortcut: `relu` puts a ReLU behind the sum, which blocks the identity path (Section 3.3 argues against it).
    """

    def __init__(self, channels: int, kernel_size: int = 3, shortcut: Shortcut = "identity"):
        super().__init__()
        self.conv1 = convolution(channels, channels, kernel_size, bias=True)
        self.conv2 = convolution(channels, channels, kernel_size)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, channels, H, W) -> the same shape."""
        y = x + self.conv2(F.relu(self.conv1(F.relu(x))))
        return F.relu(y) if self.shortcut == "relu" else y


class MultiResolutionFusion(nn.Module):
    """Multi-resolution fusion: each path through a convolution to the narrowest path's width, enlarged to the largest, summed.

    A single path passes through untouched (the paper: RefineNet-4).

    Args:
        path_channels: Channels of each path.
        kernel_size: Odd; 3 in the paper.
        upsampling: How the smaller maps are enlarged.
        shortcut: `relu` puts a ReLU behind the sum.
    """

    def __init__(
        self,
        path_channels: Sequence[int],
        kernel_size: int = 3,
        upsampling: Upsampling = "bilinear",
        shortcut: Shortcut = "identity",
    ):
        super().__init__()
        self.out_channels = min(path_channels)
        several = len(path_channels) > 1
        self.convs = nn.ModuleList(convolution(c, self.out_channels, kernel_size) for c in path_channels if several)
        self.upsampling = upsampling
        self.shortcut = shortcut

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        """Float maps (N, path_channels[i], H_i, W_i) -> (N, min(path_channels), max H_i, max W_i)."""
        if not self.convs:
            return paths[0]
        # The real sizes decide, not a factor of two: encoders round odd sizes in their own ways.
        size = tuple(symbolic_shapes.largest(path.shape[side] for path in paths) for side in (-2, -1))
        resized = [upsample(conv(path), size, self.upsampling) for conv, path in zip(self.convs, paths, strict=True)]
        total = sum(resized[1:], start=resized[0])
        return F.relu(total) if self.shortcut == "relu" else total


class ChainedResidualPooling(nn.Module):
    """Chained residual pooling (CRP): context from a chain of poolings, each seeing further than the one before.

    With r = relu(x) and s_0 = r, block k makes s_k from s_(k-1), and the output is r + s_1 + ... + s_n. The pooling is 5x5 with
    stride 1, so that each block widens the view by two pixels on every side.

    Args:
        channels: Channels in and out.
        blocks: Number n of pooling blocks. With 0 there is no pooling and no sum, and r comes back, so that what the pooling
            adds can be told apart from what the ReLU does.
        kernel_size: Of the convolutions, odd; 3 in the paper.
        order: `pool_conv` as in the CVPR paper, `conv_pool` the later improved pooling of the authors' code.
        relu: Whether the input is rectified first; the paper says that the ReLU makes training less sensitive to the learning
            rate.
        shortcut: `relu` puts a ReLU behind the sum.
    """

    def __init__(
        self,
        channels: int,
        blocks: int,
        kernel_size: int = 3,
        order: PoolingOrder = "pool_conv",
        relu: bool = True,
        shortcut: Shortcut = "identity",
    ):
        super().__init__()
        self.convs = nn.ModuleList(convolution(channels, channels, kernel_size) for _ in range(blocks))
        self.pool = pool
        self.order = order
        self.relu = relu
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, channels, H, W) -> the same shape."""
        total = first = stage = F.relu(x) if self.relu else x
        for conv in self.convs:
            stage = conv(self.pool(stage)) if self.order == "pool_conv" else self.pool(conv(stage))
            # In place from the second sum on: nothing else needs those before it, while the first still is to be pooled.
            total = total + stage if total is first else total.add_(stage)
        return F.relu(total) if self.shortcut == "relu" and self.convs else total


class RefineNetBlock(nn.Module):
    """One RefineNet block: RCUs on every input path, multi-resolution fusion, chained residual pooling, output RCUs.

    The authors' code regroups the same computation: it puts the RCUs of the path from the previous block at that block's end.

    Args:
        path_channels: Channels of each input path.
        path_rcus: RCUs on each path; 2 in the paper.
        output_rcus: RCUs at the end; 1 in the paper.
        pooling_blocks, pooling_order, pooling_relu: See `ChainedResidualPooling`.
        kernel_size, upsampling, shortcut: See the parts.
        checkpoint_activations: Whether training keeps only what enters each part (the RCUs, the fusion, the pooling), and the
            backward pass computes what is within anew.
    """

    def __init__(
        self,
        path_channels: Sequence[int],
        *,
        path_rcus: int = 2,
        output_rcus: int = 1,
        pooling_blocks: int = 4,
        pooling_order: PoolingOrder = "pool_conv",
        pooling_relu: bool = True,
        shortcut: Shortcut = "identity",
        kernel_size: int = 3,
        upsampling: Upsampling = "bilinear",
        checkpoint_activations: bool = False,
    ):
        super().__init__()
        self.out_channels = min(path_channels)
        self.checkpoint_activations = checkpoint_activations
        self.paths = nn.ModuleList(
            residual_conv_units(path_rcus, c, kernel_size, shortcut, checkpoint_activations) for c in path_channels
        )
        self.fusion = MultiResolutionFusion(path_channels, kernel_size, upsampling, shortcut)
        self.pooling = ChainedResidualPooling(
            self.out_channels, pooling_blocks, kernel_size, pooling_order, pooling_relu, shortcut
        )
        self.output = residual_conv_units(output_rcus, self.out_channels, kernel_size, shortcut, checkpoint_activations)

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        """Float maps (N, path_channels[i], H_i, W_i) -> (N, min(path_channels), max H_i, max W_i)."""
        refined = [path(x) for path, x in zip(self.paths, paths, strict=True)]
        if self.checkpoint_activations and self.training:
            return self.output(_anew(self.pooling, _anew(self.fusion, refined)))
        return self.output(self.pooling(self.fusion(refined)))


class ResidualConvUnits(nn.Sequential):
    """Residual convolution units in a row; with none the input comes back.

    Attributes:
        checkpoint_activations: See `RefineNetBlock`.
    """

    checkpoint_activations = False

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, channels, H, W) -> the same shape."""
        for unit in self:
            x = _anew(unit, x) if self.checkpoint_activations and self.training else unit(x)
        return x


def residual_conv_units(
    number: int, channels: int, kernel_size: int, shortcut: Shortcut, checkpoint_activations: bool = False
) -> ResidualConvUnits:
    """`number` RCUs in a row."""
    units = ResidualConvUnits(*(ResidualConvUnit(channels, kernel_size, shortcut) for _ in range(number)))
    units.checkpoint_activations = checkpoint_activations
    return units


def _anew(module: nn.Module, inputs: Tensor | Sequence[Tensor]) -> Tensor:
    # Nothing within draws random numbers.
    return checkpoint(module, inputs, use_reentrant=False, preserve_rng_state=False)
