"""A network, part by part: which map each part makes, what it holds and what it costs."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from refinenet_pl.models.refinenet import RefineNet


@dataclass(frozen=True)
class Part:
    """One row of the description.

    Attributes:
        block: `encoder`, `RefineNet-4` (the deepest) to `RefineNet-1`, or `head`.
        part: What it is, and for a path where it comes from.
        shape: (channels, height, width) of its output; of an encoder, its deepest features.
        parameters: Number of its parameters.
        multiply_adds: Of one picture; convolutions and matrix products.
    """

    block: str
    part: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def describe(network: RefineNet, height: int, width: int) -> list[Part]:
    """List the parts in the order of computation.

    Args:
        network: The network; it is put into evaluation mode.
        height: Of the picture, pixels.
        width: Of the picture, pixels.
    """
    named = _parts(network)
    shapes: dict[int, tuple[int, ...]] = {}

    def remember(module: nn.Module, inputs, output) -> None:
        shapes[id(module)] = tuple((output[-1] if isinstance(output, (list, tuple)) else output).shape[1:])

    hooks = [module.register_forward_hook(remember) for _, _, module in named]
    parameter = next(network.parameters())
    channels = _input_channels(network)
    # The counter names a module after its place below the one that is called, and adds to all that surround it.
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            network.eval()(torch.zeros(1, channels, height, width, device=parameter.device, dtype=parameter.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    places = {id(module): f"{type(network).__name__}.{name}" for name, module in network.named_modules()}
    counts = counter.get_flop_counts()
    return [
        Part(
            block,
            part,
            shapes[id(module)],
            sum(p.numel() for p in module.parameters()),
            sum(counts.get(places[id(module)], {}).values()) // 2,
        )
        for block, part, module in named
        if id(module) in shapes
    ]


def _parts(network: RefineNet) -> list[tuple[str, str, nn.Module]]:
    """(block, part, module) in the order of computation; parts that pass their input through are left out."""
    rows = []
    for scale, encoder in zip(network.scales, network.encoders, strict=True):
        rows.append(("encoder", f"{network.name.removeprefix('refinenet-')} at scale {scale:g}", encoder))
    decoder = network.decoder
    number = len(decoder.blocks)
    for taps, adaptations, block in zip(decoder.wiring, decoder.adaptations, decoder.blocks, strict=True):
        title = f"RefineNet-{number}"
        sources = [] if block is decoder.blocks[0] else [f"RefineNet-{number + 1}"]
        for tap, adaptation in zip(taps, adaptations, strict=True):
            source = f"1/{2 ** (tap.stage + 1)}" + (
                f" of scale {network.scales[tap.scale]:g}" if len(network.scales) > 1 else ""
            )
            sources.append(source)
            rows.append((title, f"path {source}: adaptation", adaptation))
        for source, path in zip(sources, block.paths, strict=True):
            rows.append((title, f"path {source}: {len(path)} RCU", path))
        rows += [
            (title, "multi-resolution fusion", block.fusion),
            (title, f"chained residual pooling, {len(block.pooling.convs)} blocks", block.pooling),
            (title, f"output: {len(block.output)} RCU", block.output),
        ]
        number -= 1
    rows += [("head", f"{len(decoder.head)} RCU", decoder.head), ("head", "classifier", network.segmentation_head)]
    return [row for row in rows if any(True for _ in row[2].parameters())]


def _input_channels(network: RefineNet) -> int:
    return next(m for m in network.encoders[0].modules() if isinstance(m, nn.Conv2d)).in_channels
