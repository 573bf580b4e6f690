"""`describe`: print a network part by part."""

import sys

import torch
from jsonargparse import ArgumentParser
from tabulate import tabulate

from refinenet_pl.models.describe import describe
from refinenet_pl.models.refinenet import RefineNet


def main(arguments: list[str]) -> None:
    """Run `describe`; `arguments` begins with the command."""
    parser = ArgumentParser(prog="python -m refinenet_pl describe", description="Print a RefineNet part by part.")
    parser.add_argument("--height", type=int, default=512, help="height of the picture in pixels")
    parser.add_argument("--width", type=int, default=512, help="width of the picture in pixels")
    parser.add_class_arguments(RefineNet, "network", skip={"encoder_weights", "aux_params"})
    config = parser.parse_args(arguments[1:])
    if min(config.height, config.width) < 1:
        sys.exit(f"error: an image of {config.width}x{config.height} pixels; give a --height and a --width of 1 or more")
    try:
        # Nothing is computed: shapes and counts are known without values.
        with torch.device("meta"):
            network = RefineNet(**config.network.as_dict(), encoder_weights=None)
    except ValueError as error:  # arguments that do not go together; the message says which
        sys.exit(f"error: {error}")
    parts = describe(network, config.height, config.width)
    rows = []
    for index, part in enumerate(parts):
        block = part.block if index == 0 or parts[index - 1].block != part.block else ""
        shape = " x ".join(map(str, part.shape))
        rows.append((block, part.part, shape, f"{part.parameters:,}", f"{part.multiply_adds / 1e9:.3f}"))
    parameters = sum(part.parameters for part in parts)
    total = ("total", "", "", f"{parameters:,}", f"{sum(part.multiply_adds for part in parts) / 1e9:.3f}")
    headers = ("block", "part", "output", "parameters", "GMAC")
    align = ("left", "left", "left", "right", "right")
    print(tabulate([*rows, total], headers, tablefmt="simple", colalign=align, disable_numparse=True))
