"""Weights that a decoder starts from."""

from typing import Literal

import torch
from torch import nn

from refinenet_pl.network.blocks import ChainedResidualPooling, ResidualConvUnit

DecoderInit = Literal["published", "scaled"]


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
