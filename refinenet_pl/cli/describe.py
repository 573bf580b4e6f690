"""`describe`: print the parts of a network with their output shapes, parameters and multiply-adds."""

import sys
from collections.abc import Iterator

import torch
from jsonargparse import ArgumentParser
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from refinenet_pl.models.blocks import RefineNetBlock
from refinenet_pl.models.decoder import RefineNetDecoder
from refinenet_pl.models.refinenet import RefineNet

Row = tuple[str, str, tuple[int, ...], int, int]
"""Name, class, (channels, height, width) of the output (an encoder's deepest features), parameters, multiply-adds."""


def describe(network: nn.Module, image: Tensor) -> list[Row]:
    """List the parts that have parameters, in the order of computation, and then the whole network as `total`.

    Args:
        network: A RefineNet or any other network; it is put into evaluation mode.
        image: Float (1, in_channels, height, width).

    Returns:
        A row for each part.
    """
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def record(part: nn.Module, inputs: tuple, output: Tensor | list[Tensor] | tuple[Tensor, ...]) -> None:
        shapes[part] = tuple((output if isinstance(output, Tensor) else output[-1]).shape[1:])

    names = {part: name for name, part in _parts(network)} | {network: ""}
    hooks = [part.register_forward_hook(record) for part in names]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(image)
    for hook in hooks:
        hook.remove()
    counts, rows = counter.get_flop_counts(), []
    for part, shape in shapes.items():
        flops = sum(counts.get(f"{type(network).__name__}.{names[part]}".rstrip("."), {}).values())
        parameters = sum(parameter.numel() for parameter in part.parameters())
        rows.append((names[part] or "total", type(part).__name__, shape, parameters, flops // 2))
    return rows


def _parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if isinstance(child, (nn.ModuleList, RefineNetDecoder, RefineNetBlock)):
            yield from _parts(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            yield prefix + name, child


def main(arguments: list[str]) -> None:
    """Run `describe`; `arguments` starts with the command."""
    parser = ArgumentParser(prog="refinenet describe", description="Print the parts of a RefineNet.")
    parser.add_argument("--height", type=int, default=512, help="height of the image in pixels")
    parser.add_argument("--width", type=int, default=512, help="width of the image in pixels")
    parser.add_class_arguments(RefineNet, "network", skip={"encoder_weights", "aux_params"})
    config = parser.parse_args(arguments[1:])
    if min(config.height, config.width) < 1:
        sys.exit(f"error: --height is {config.height} and --width is {config.width}; give 1 or more for each")
    try:
        with torch.device("meta"):  # shapes and counts are known without computing values
            network = RefineNet(**config.network.as_dict(), encoder_weights=None)
            rows = describe(network, torch.zeros(1, config.network.in_channels, config.height, config.width))
    except ValueError as error:  # an argument is outside its range; the message names it
        sys.exit(f"error: {error}")
    cells = [(*row[:2], " x ".join(map(str, row[2])), f"{row[3]:,}", f"{row[4] / 1e9:.3f}") for row in rows]
    headers, alignment = ("part", "class", "output", "parameters", "GMAC"), ("left",) * 3 + ("right",) * 2
    print(tabulate(cells, headers, colalign=alignment, disable_numparse=True))
