"""The cascade of RefineNet blocks (paper, Section 3.1 and Fig. 2(c)), and the initialization of its weights."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from refinenet_pl.models.blocks import (
    ChainedResidualPooling,
    DecoderNorm,
    RefineNetBlock,
    ResidualConvUnit,
    Shortcut,
    convolution,
    norm_layers,
    residual_conv_units,
)
from refinenet_pl.models.ops.dropout import Dropout

DecoderInit = Literal["published", "scaled"]


class Tap(NamedTuple):
    """A feature map of an encoder that enters the decoder.

    Attributes:
        scale: Index of the image scale; 0 is the largest.
        stage: 1 for the map at 1/4 of the scaled image, 2 for 1/8, and so on.
    """

    scale: int
    stage: int


def wire(stages: int, scales: int, cascade: int) -> list[list[Tap]]:
    """Assign the encoder's feature maps to the blocks.

    The stages, deepest first, are divided into `cascade` groups of consecutive stages, one for each block: four blocks of one
    stage each (the paper's network), two of two, or one block of all four (Table 9).

    A second image scale is about half the first. Its stage k is therefore as large as stage k + 1 of the first scale and enters
    the same block; its stage 1 is not used. With four stages, these are the paper's seven paths (Section 3.1). The wiring is
    that of the port in googleinterns/out-of-distribution; the paper shows its own only in the supplement.

    Args:
        stages: Number of encoder stages, from 1/4 down.
        scales: Number of image scales, 1 or 2.
        cascade: Number of blocks; at most one per stage is made.

    Returns:
        The taps of each block, deepest block first. Every block except the first also has the previous block as an input.
    """
    levels = [
        [
            Tap(scale, stage)
            for scale in range(scales)
            for stage in range(stages, scale, -1)
            if min(stage + scale, stages) == level
        ]
        for level in range(stages, 0, -1)
    ]
    runs = np.array_split(np.arange(stages), min(cascade, stages))
    return [[tap for level in run for tap in levels[level]] for run in runs]


class RefineNetDecoder(nn.Module):
    """Cascade of RefineNet blocks, from the deepest features to the finest (Section 3.1).

    A convolution adapts the width of every tap: to `deepest_width` for the deepest stage, to `width` for the others. A block is
    as wide as its narrowest path. In the paper's network, `blocks.0` is RefineNet-4 (512 channels, one path) and `blocks.1` to
    `blocks.3` are RefineNet-3 to RefineNet-1 (256 channels, two paths).

    Args:
        encoder_channels: For each image scale, the channels of the features at 1/4, 1/8, ...
        cascade: Number of blocks.
        width: Channels of the paths; 256 in the paper.
        deepest_width: Channels of the paths from the deepest stage; 512 in the paper.
        head_rcus: RCUs after the last block; 2 in the paper.
        dropout: Dropout rate before the adapting convolution, for features wider than 512 channels.
        kernel_size: Kernel size of all convolutions, odd; 3 in the paper.
        shortcut: `relu` adds a ReLU after every sum.
        norm: Normalization after each adapting convolution and in each RCU; none in the paper.
        checkpoint_activations: In training, recompute the activations inside each part of a block, and of the head, in the
            backward pass.
        **block: Other arguments of `RefineNetBlock`.

    Attributes:
        wiring: Taps of each block, see `wire`.
        adaptations: For each block, the dropout, convolution and normalization of each of its taps.
        blocks: The blocks, deepest first.
        head: RCUs after the last block.
        out_channels: Channels of the output.
    """

    adaptations: nn.ModuleList
    blocks: nn.ModuleList

    def __init__(
        self,
        encoder_channels: Sequence[Sequence[int]],
        *,
        cascade: int = 4,
        width: int = 256,
        deepest_width: int = 512,
        head_rcus: int = 2,
        dropout: float = 0.5,
        kernel_size: int = 3,
        shortcut: Shortcut = "identity",
        norm: DecoderNorm = "none",
        checkpoint_activations: bool = False,
        **block: Any,
    ):
        super().__init__()
        stages = len(encoder_channels[0])
        self.wiring = wire(stages, len(encoder_channels), cascade)
        self.adaptations = nn.ModuleList()
        self.blocks = nn.ModuleList()
        previous: list[int] = []
        for taps in self.wiring:
            adaptations = nn.ModuleList()
            path_channels = list(previous)
            for tap in taps:
                channels = encoder_channels[tap.scale][tap.stage - 1]
                path_channels.append(deepest_width if tap.stage == stages else width)
                rate = dropout if channels > 512 else 0.0
                adapt = convolution(channels, path_channels[-1], kernel_size)
                adaptations.append(nn.Sequential(Dropout(rate), adapt, *norm_layers(norm, path_channels[-1])))
            self.adaptations.append(adaptations)
            refine = RefineNetBlock(
                path_channels,
                kernel_size=kernel_size,
                shortcut=shortcut,
                norm=norm,
                checkpoint_activations=checkpoint_activations,
                **block,
            )
            self.blocks.append(refine)
            previous = [refine.out_channels]
        self.out_channels = previous[0]
        self.head = residual_conv_units(head_rcus, self.out_channels, kernel_size, shortcut, norm, checkpoint_activations)

    def forward(self, features: Sequence[Sequence[Tensor]]) -> Tensor:
        """Refine the features from the deepest stage to the first.

        Args:
            features: For each image scale, float maps (N, C, h, w) at 1/4, 1/8, ... of the scaled image.

        Returns:
            Float (N, out_channels, h, w), of the largest map's size.
        """
        previous: list[Tensor] = []
        for taps, adaptations, block in zip(self.wiring, self.adaptations, self.blocks, strict=True):
            assert isinstance(adaptations, nn.ModuleList)
            adapted = [adapt(features[tap.scale][tap.stage - 1]) for tap, adapt in zip(taps, adaptations, strict=True)]
            previous = [block(previous + adapted)]
        return self.head(previous[0])


@torch.no_grad()
def initialize(decoder: nn.Module, head: nn.Module, how: DecoderInit) -> None:
    """Initialize the weights of a decoder and its head at random, and their biases with 0.

    Args:
        decoder: A `RefineNetDecoder`.
        head: The classifier.
        how: `published`: every weight from N(0, 0.01^2), as in the authors' code. This fits 256 channels, where a signal loses
            two thirds of its magnitude in each 3x3 convolution. With the 32 or 48 channels of a small network, it would lose
            nine tenths and vanish in the cascade. `scaled`: weights that preserve the magnitude at any width, reduced where a
            convolution ends a residual branch, so that the many sums do not explode. The head is `published` in both cases, so
            that training starts from nearly equal class scores.
    """
    for module in [*decoder.modules(), *head.modules()]:
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if how == "published":
        return
    gains = {id(m): 1.0 for m in decoder.modules() if isinstance(m, nn.Conv2d)}
    for module in decoder.modules():
        if isinstance(module, ResidualConvUnit):
            gains[id(module.conv1)] = 2**0.5  # after a ReLU (He et al. 2015)
            gains[id(module.conv2)] = 0.1
        elif isinstance(module, ChainedResidualPooling):
            gains |= {id(conv): 0.5 for conv in module.convs}
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=gains[id(module)] / fan_in**0.5)
