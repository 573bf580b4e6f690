"""The parts of a RefineNet block (paper, Section 3.2 and Fig. 3), each a module.

All convolutions keep the size of the map, and there is no batch normalization. The shortcuts are identity mappings (Section
3.3): the only ReLU on the main path of a block is the one before chained residual pooling.
"""

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
DecoderNorm = Literal["none", "group"]


def convolution(in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> nn.Conv2d:
    """Build a convolution that keeps the size of the map; most of the authors' decoder convolutions have no bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


def norm_layers(norm: DecoderNorm, channels: int) -> list[nn.Module]:
    """Build the layers that follow a convolution: none, as in the paper, or group normalization.

    Args:
        norm: `none`, or `group` for the most groups, up to 32, of at least eight channels each; one group of fewer channels.
        channels: Channels of the map.
    """
    groups = max(n for n in range(1, min(32, max(1, channels // 8)) + 1) if channels % n == 0)
    return [nn.GroupNorm(groups, channels)] if norm == "group" else []


class ResidualConvUnit(nn.Module):
    """Residual convolution unit (RCU, Fig. 3(b)): x + conv2(relu(conv1(relu(x)))), without batch normalization.

    As in the authors' code, only the first convolution has a bias. The shortcut carries `x` before the ReLU, so no ReLU here is
    in place.

    Args:
        channels: Channels of input and output.
        kernel_size: Odd; 3 in the paper.
        shortcut: `relu` adds a ReLU after the sum, which blocks the identity shortcut (Section 3.3 advises against it).
        norm: Normalization between the first convolution and its ReLU; none in the paper.
    """

    def __init__(self, channels: int, kernel_size: int = 3, shortcut: Shortcut = "identity", norm: DecoderNorm = "none"):
        super().__init__()
        self.conv1 = convolution(channels, channels, kernel_size, bias=True)
        self.norm = nn.Sequential(*norm_layers(norm, channels))
        self.conv2 = convolution(channels, channels, kernel_size)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Refine a map: float (N, channels, H, W) -> the same shape."""
        y = x + self.conv2(F.relu(self.norm(self.conv1(F.relu(x)))))
        return F.relu(y) if self.shortcut == "relu" else y


class MultiResolutionFusion(nn.Module):
    """Multi-resolution fusion (Fig. 3(c)): the sum of all paths at the largest resolution.

    Each path passes a convolution to the width of the narrowest path, at its own resolution, and is then upsampled. A single
    path passes unchanged (RefineNet-4 in the paper).

    Args:
        path_channels: Channels of each path.
        kernel_size: Odd; 3 in the paper.
        upsampling: Method by which the smaller maps are upsampled.
        shortcut: `relu` adds a ReLU after the sum.
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
        self.upsampling: Upsampling = upsampling
        self.shortcut = shortcut

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        """Fuse the paths: float maps (N, path_channels[i], H_i, W_i) -> (N, min(path_channels), max H_i, max W_i)."""
        if not self.convs:
            return paths[0]
        # The actual sizes, not a factor of two, because encoders round odd sizes in different ways.
        height, width = (symbolic_shapes.largest(path.shape[side] for path in paths) for side in (-2, -1))
        resized = [upsample(conv(path), (height, width), self.upsampling) for conv, path in zip(self.convs, paths, strict=True)]
        total = sum(resized[1:], start=resized[0])
        return F.relu(total) if self.shortcut == "relu" else total


class ChainedResidualPooling(nn.Module):
    """Chained residual pooling (CRP, Fig. 3(d)): context from a chain of poolings, each with a larger window than the last.

    With r = relu(x) and s_0 = r, pooling block k computes s_k from s_(k-1), and the output is r + s_1 + ... + s_n. The pooling
    is 5x5 with stride 1, so each block extends the window by two pixels on every side.

    Args:
        channels: Channels of input and output.
        blocks: Number n of pooling blocks. With 0 the output is r, which separates the effect of the pooling from that of the
            ReLU.
        kernel_size: Kernel size of the convolutions, odd; 3 in the paper.
        order: `pool_conv`: s_k = conv(pool(s_(k-1))), the CVPR paper. `conv_pool`: s_k = pool(conv(s_(k-1))), the improved
            pooling of the authors' code.
        relu: Apply the ReLU to the input. According to the paper, it makes training less sensitive to the learning rate.
        shortcut: `relu` adds a ReLU after the sum.
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
        self.channels = channels
        self.convs = nn.ModuleList(convolution(channels, channels, kernel_size) for _ in range(blocks))
        self.pool = pool
        self.order = order
        self.relu = relu
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Add the pooled context: float (N, channels, H, W) -> the same shape."""
        total = first = stage = F.relu(x) if self.relu else x
        for conv in self.convs:
            stage = conv(self.pool(stage)) if self.order == "pool_conv" else self.pool(conv(stage))
            # In place from the second sum on: only the first is still needed, as the input of the next pooling.
            total = total + stage if total is first else total.add_(stage)
        return F.relu(total) if self.shortcut == "relu" and self.convs else total


class RefineNetBlock(nn.Module):
    """RefineNet block (Fig. 3(a)): RCUs on every input path, multi-resolution fusion, chained residual pooling, output RCUs.

    The authors' code computes the same in another grouping: it counts the RCUs on the path from a block as part of that block.

    Args:
        path_channels: Channels of each input path.
        path_rcus: RCUs on each path; 2 in the paper.
        output_rcus: RCUs at the end; 1 in the paper.
        pooling_blocks, pooling_order, pooling_relu: See `ChainedResidualPooling`.
        kernel_size, upsampling, shortcut, norm: See the parts.
        checkpoint_activations: In training, keep only the inputs of each part (RCUs, fusion, pooling) and recompute the
            activations inside it in the backward pass.

    Attributes:
        out_channels: Channels of the output, those of the narrowest path.
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
        norm: DecoderNorm = "none",
        checkpoint_activations: bool = False,
    ):
        super().__init__()
        self.out_channels = min(path_channels)
        self.checkpoint_activations = checkpoint_activations
        self.paths = nn.ModuleList(
            residual_conv_units(path_rcus, c, kernel_size, shortcut, norm, checkpoint_activations) for c in path_channels
        )
        self.fusion = MultiResolutionFusion(path_channels, kernel_size, upsampling, shortcut)
        self.pooling = ChainedResidualPooling(
            self.out_channels, pooling_blocks, kernel_size, pooling_order, pooling_relu, shortcut
        )
        self.output = residual_conv_units(output_rcus, self.out_channels, kernel_size, shortcut, norm, checkpoint_activations)

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        """Refine and fuse the paths: float (N, path_channels[i], H_i, W_i) -> (N, min(path_channels), max H_i, max W_i)."""
        refined = [path(x) for path, x in zip(self.paths, paths, strict=True)]
        if self.checkpoint_activations and self.training:
            return self.output(_checkpointed(self.pooling, _checkpointed(self.fusion, refined)))
        return self.output(self.pooling(self.fusion(refined)))


class ResidualConvUnits(nn.Sequential):
    """Sequence of RCUs; without any, the input is returned.

    Attributes:
        checkpoint_activations: See `RefineNetBlock`.
    """

    checkpoint_activations = False

    def forward(self, x: Tensor) -> Tensor:
        """Apply the RCUs: float (N, channels, H, W) -> the same shape."""
        for unit in self:
            x = _checkpointed(unit, x) if self.checkpoint_activations and self.training else unit(x)
        return x


def residual_conv_units(
    number: int, channels: int, kernel_size: int, shortcut: Shortcut, norm: DecoderNorm, checkpoint_activations: bool = False
) -> ResidualConvUnits:
    """Build a sequence of `number` RCUs."""
    units = ResidualConvUnits(*(ResidualConvUnit(channels, kernel_size, shortcut, norm) for _ in range(number)))
    units.checkpoint_activations = checkpoint_activations
    return units


def _checkpointed(module: nn.Module, inputs: Tensor | Sequence[Tensor]) -> Tensor:
    # No random numbers are used inside, so that their state need not be saved.
    return checkpoint(module, inputs, use_reentrant=False, preserve_rng_state=False)
