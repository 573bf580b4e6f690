"""Parts of a network that are not trained."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from refinenet_pl.models.dense_network import as_dense_network

PARTS = ("encoder", "decoder")
"""Names of parts: the encoder, and everything else but the last layer."""


def freeze(network: nn.Module, parts: Sequence[str]) -> None:
    """Exclude parameters of a network from training.

    Args:
        network: The network.
        parts: Each one of `PARTS`, or a pattern of parameter names such as `decoder.blocks.0.*`.

    Raises:
        ValueError: A part or pattern has no parameters, or nothing is left to train.
    """
    names = dict(network.named_parameters())
    for part in parts:
        found = _of_part(network, part) if part in PARTS else [name for name in names if fnmatchcase(name, part)]
        if not found:
            some = ", ".join(list(names)[:3])
            raise ValueError(
                f"freeze: {part!r} matches no parameter of the network; use encoder, decoder or a pattern of names such as "
                f"{some}"
            )
        for name in found:
            names[name].requires_grad_(False)
    if parts and not any(parameter.requires_grad for parameter in names.values()):
        raise ValueError(f"freeze: {', '.join(parts)} leave nothing to train; freeze fewer parts")


def frozen_modules(network: nn.Module) -> Iterable[nn.Module]:
    """Modules with parameters of which none is trained."""
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            yield module


def _of_part(network: nn.Module, part: str) -> list[str]:
    encoder = as_dense_network(network).encoder
    inside = set() if encoder is None else {id(parameter) for parameter in encoder.parameters()}
    if part == "encoder":
        return [name for name, parameter in network.named_parameters() if id(parameter) in inside]
    head = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    last = {id(parameter) for parameter in head.parameters()}
    return [name for name, parameter in network.named_parameters() if id(parameter) not in inside | last]
