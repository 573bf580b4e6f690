"""Preparation of a network for inference: fewer and cheaper operations for the same scores."""

import torch
from torch import nn

from refinenet_pl.deployment.folding import fold_batch_norm
from refinenet_pl.deployment.winograd import WinogradConv2d
from refinenet_pl.models.blocks import ChainedResidualPooling, RefineNetBlock, ResidualConvUnits, convolution
from refinenet_pl.models.decoder import RefineNetDecoder
from refinenet_pl.models.ops.pooling import pool_along_sides
from refinenet_pl.models.refinenet import RefineNet


@torch.no_grad()
def merge_projections(decoder: RefineNetDecoder) -> None:
    """Merge consecutive 1x1 convolutions in place: those by which Light-Weight RefineNet adapts and fuses a path."""
    for adaptations, block in zip(decoder.adaptations, decoder.blocks, strict=True):
        assert isinstance(adaptations, nn.ModuleList) and isinstance(block, RefineNetBlock)
        if not block.fusion.convs:
            continue
        # The path from the previous block, if there is one, is the first and has no adaptation.
        before = len(block.paths) - len(adaptations)
        for place, adaptation in enumerate(adaptations, start=before):
            path = block.paths[place]
            assert isinstance(adaptation, nn.Sequential) and isinstance(path, ResidualConvUnits)
            first, second = adaptation[-1], block.fusion.convs[place]
            if len(path) or not isinstance(first, nn.Conv2d) or not isinstance(second, nn.Conv2d):
                continue
            if first.kernel_size == second.kernel_size == (1, 1):
                merged = convolution(first.in_channels, second.out_channels, 1).to(first.weight)
                merged.weight.copy_((second.weight.flatten(1) @ first.weight.flatten(1))[..., None, None])
                adaptation[-1], block.fusion.convs[place] = merged, nn.Identity()


def prepare_for_inference(network: nn.Module, compiled: bool = False) -> nn.Module:
    """Modify a network for the fastest inference, in place; its scores stay the same up to rounding.

    Batch normalization is folded into convolutions, and consecutive 1x1 convolutions are merged. On CPUs, wide 3x3 convolutions
    use Winograd's algorithm, and poolings process one side after the other. Afterwards, the network can neither be trained nor
    saved, and must stay on its device.

    Args:
        network: A RefineNet or another network that maps images to scores, on the device where it will be used.
        compiled: The network will be compiled by torch.compile, which has its own convolutions.

    Returns:
        The network, in evaluation mode.
    """
    network.eval()
    fold_batch_norm(network)
    if isinstance(network, RefineNet):
        merge_projections(network.decoder)
    if not compiled and next(network.parameters()).device.type == "cpu":
        for name, module in list(network.named_modules()):
            if isinstance(module, ChainedResidualPooling):
                module.pool = pool_along_sides
            elif isinstance(module, nn.Conv2d) and WinogradConv2d.fits(module):
                network.set_submodule(name, WinogradConv2d(module))
    return network.requires_grad_(False)
