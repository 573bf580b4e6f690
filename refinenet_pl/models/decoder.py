"""Which encoder features and which earlier block enter each RefineNet block, and the decoder wired that way."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from refinenet_pl.models.blocks import (
    ChainedResidualPooling,
    RefineNetBlock,
    ResidualConvUnit,
    Shortcut,
    convolution,
    residual_conv_units,
)
from refinenet_pl.models.ops.dropout import Dropout

DecoderInit = Literal["published", "scaled"]


class Tap(NamedTuple):
    """A feature map of an encoder that enters the decoder.

    Attributes:
        scale: Which image scale, by position; 0 is the largest.
        stage: 1 for the map at 1/4 of that scale's picture, 2 for 1/8, and so on.
    """

    scale: int
    stage: int


def wire(stages: int, scales: int, cascade: int) -> list[list[Tap]]:
    """Distribute the taps over the blocks.

    The stages, deepest first, are cut into `cascade` runs, one for each block: four blocks of one stage each (the paper's
    network), two of two, or a single block of all (Table 9). A second image scale is half the first, so its stage k is as
    large as the first's stage k + 1 and enters there; its stage 1 is not used. With four stages that makes the paper's seven
    paths (Section 3.1; the wiring as in the port in googleinterns/out-of-distribution, for the paper's own figure of it is in a
    supplement).

    Args:
        stages: Number of encoder stages, from 1/4 down.
        scales: 1 or 2.
        cascade: Number of blocks; no more blocks are made than there are stages.

    Returns:
        The taps of each block, deepest block first. Every block but the first takes the one before it as well.
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
    """The cascade of RefineNet blocks.

    Every tap passes a convolution that adapts its width: `deepest_width` for the last stage, `width` for the others. A block
    is as wide as its narrowest path.

    Args:
        encoder_channels: Channels of the features at 1/4, 1/8, ... for each image scale.
        cascade: Number of blocks.
        width: Width of the paths; 256 in the paper.
        deepest_width: Width of the deepest stage's paths; 512 in the paper.
        head_rcus: RCUs behind the last block; 2 in the paper.
        dropout: Rate on features wider than 512 channels, before the adapting convolution.
        kernel_size: Of all convolutions, odd; 3 in the paper.
        shortcut: `relu` puts a ReLU behind every sum.
        checkpoint_activations: Whether the backward pass computes the activations within each part of a block, and of the head,
            anew.
        **block: The other arguments of `RefineNetBlock`.
    """

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
        checkpoint_activations: bool = False,
        **block,
    ):
        super().__init__()
        stages = len(encoder_channels[0])
        self.wiring = wire(stages, len(encoder_channels), cascade)
        self.adaptations = nn.ModuleList()
        self.blocks = nn.ModuleList()
        earlier: list[int] = []
        for taps in self.wiring:
            adaptations = nn.ModuleList()
            for tap in taps:
                channels = encoder_channels[tap.scale][tap.stage - 1]
                out_channels = deepest_width if tap.stage == stages else width
                rate = dropout if channels > 512 else 0.0
                adaptations.append(nn.Sequential(Dropout(rate), convolution(channels, out_channels, kernel_size)))
            path_channels = earlier + [adaptation[1].out_channels for adaptation in adaptations]
            self.adaptations.append(adaptations)
            same = {"kernel_size": kernel_size, "shortcut": shortcut, "checkpoint_activations": checkpoint_activations}
            self.blocks.append(RefineNetBlock(path_channels, **same, **block))
            earlier = [self.blocks[-1].out_channels]
        self.out_channels = earlier[0]
        self.head = residual_conv_units(head_rcus, self.out_channels, kernel_size, shortcut, checkpoint_activations)

    def forward(self, features: Sequence[Sequence[Tensor]]) -> Tensor:
        """Refine from the deepest stage to the first.

        Args:
            features: For each image scale the float maps (N, C, H, W) at 1/4, 1/8, ... of its picture.

        Returns:
            Float (N, out_channels, H, W), as large as the largest map.
        """
        earlier: list[Tensor] = []
        for taps, adaptations, block in zip(self.wiring, self.adaptations, self.blocks, strict=True):
            adapted = [adapt(features[tap.scale][tap.stage - 1]) for tap, adapt in zip(taps, adaptations, strict=True)]
            earlier = [block(earlier + adapted)]
        return self.head(earlier[0])


@torch.no_grad()
def initialize(decoder: nn.Module, head: nn.Module, how: DecoderInit) -> None:
    """Draw the weights of a decoder and its head; biases become 0.

    Args:
        decoder: A `RefineNetDecoder`.
        head: The classifier.
        how: `published`: every weight from N(0, 0.01^2), as the authors' code has it. That fits 256 channels, where a signal
            loses two thirds of its size in each 3x3 convolution; with the 32 or 48 channels of a small network it loses nine
            tenths, and nothing arrives. `scaled`: weights that keep the size of a signal at any width, but smaller ones where
            a convolution ends a residual branch, so that the many sums do not add up to an explosion. The head stays as
            published in both, so that training starts from even class scores.
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
            gains[id(module.conv1)] = 2**0.5  # behind a ReLU (He et al. 2015)
            gains[id(module.conv2)] = 0.1
        elif isinstance(module, ChainedResidualPooling):
            gains |= {id(conv): 0.5 for conv in module.convs}
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=gains[id(module)] / fan_in**0.5)
