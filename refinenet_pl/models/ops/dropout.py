"""Dropout whose masks belong to samples, not to processes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout`, but within `sample_seeds` each sample's mask is drawn from the sample's own seed.

    So a sample loses the same features whichever process it is on, whatever else is in its batch, and when the step is
    repeated after an interruption.

    Attributes:
        layer: Tells the layers of a network apart, so that each has masks of its own; see `number_layers`.
    """

    layer = 0

    def forward(self, x: Tensor) -> Tensor:
        return x * _factors(x.detach(), self.p, self.layer) if self.training and self.p > 0 else x


def number_layers(network: nn.Module) -> None:
    """Number the dropout layers of a network that drop anything."""
    layers = [module for module in network.modules() if isinstance(module, Dropout) and module.p > 0]
    for number, layer in enumerate(layers):
        layer.layer = number


@contextmanager
def sample_seeds(seeds: Sequence[int] | None) -> Iterator[None]:
    """Draw dropout from these seeds, one a sample, while the block runs; as torch does for None.

    Args:
        seeds: Integers from 0 to 2**63 - 1.
    """
    token = _seeds.set(seeds)
    try:
        yield
    finally:
        _seeds.reset(token)


# An operator of its own, which torch.compile takes as it is: it could not look into generators and context variables.
@torch.library.custom_op("refinenet_pl::dropout_factors", mutates_args=())
def _factors(x: Tensor, rate: float, layer: int) -> Tensor:
    """What to multiply features by, of their shape: 0 or 1 / (1 - rate). They lie in memory with the channels last."""
    seeds, kept = _seeds.get(), 1 - rate
    if seeds is None:
        return _empty(x).copy_(F.dropout(torch.ones_like(x), rate))
    if len(seeds) != len(x):
        raise ValueError(f"{len(seeds)} seeds for a batch of {len(x)} samples")
    factors = _empty(x)
    for factor, seed in zip(factors, seeds, strict=True):
        # A large odd step, so that the layers of neighbouring seeds do not share masks.
        generator = torch.Generator(x.device).manual_seed((seed + layer * 0x9E3779B97F4A7C15) % 2**63)
        factor.movedim(0, -1).bernoulli_(kept, generator=generator)
    return factors.mul_(1 / kept if kept else 0)


@_factors.register_fake
def _(x: Tensor, rate: float, layer: int) -> Tensor:
    return _empty(x)


def _empty(x: Tensor) -> Tensor:
    shape = (len(x), *x.shape[2:], x.shape[1])
    return torch.empty(shape, device=x.device, dtype=x.dtype).movedim(-1, 1)


_seeds: ContextVar[Sequence[int] | None] = ContextVar("seeds", default=None)
