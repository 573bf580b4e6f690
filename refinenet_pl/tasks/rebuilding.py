"""Networks from their description in a checkpoint."""

from typing import Any

from jsonargparse import ArgumentParser
from torch import nn

from refinenet_pl.moved import MOVED


def build_network(description: dict[str, Any]) -> nn.Module:
    """Build a network from its `class_path` and `init_args`, with random weights."""
    path, arguments = description["class_path"], dict(description["init_args"])
    if "encoder_weights" in arguments:
        arguments["encoder_weights"] = None  # they are in the checkpoint, so none have to be loaded or downloaded
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--network", type=nn.Module)
    parsed = parser.parse_object({"network": {"class_path": MOVED.get(path, path), "init_args": arguments}})
    return parser.instantiate(parsed).network
