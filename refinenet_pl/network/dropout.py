"""Dropout whose masks belong to samples, not to processes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout`, but within `sample_seeds` each sample's mask is drawn from the sample's own seed.

    So a sample loses the same features whichever process it is on, whatever else is in its batch, and when the step is
    repeated after an interruption.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or (drawn := _drawn.get()) is None:
            return super().forward(x)
        if len(drawn.seeds) != len(x):
            raise ValueError(f"{len(drawn.seeds)} seeds for a batch of {len(x)} samples")
        return x * torch.stack([self._mask(x, seed) for seed in drawn.of(self)]).movedim(-1, 1)

    def _mask(self, x: Tensor, seed: int) -> Tensor:
        """One sample's factors, channels last, which is how the network's features lie in memory."""
        generator = torch.Generator(x.device).manual_seed(seed)
        mask = torch.empty(*x.shape[2:], x.shape[1], device=x.device, dtype=x.dtype)
        kept = 1 - self.p
        return mask.bernoulli_(kept, generator=generator).mul_(1 / kept if kept else 0)


@contextmanager
def sample_seeds(seeds: Sequence[int] | None) -> Iterator[None]:
    """Draw dropout from these seeds, one a sample, while the block runs; as torch does for None.

    Args:
        seeds: Integers from 0 to 2**63 - 1.
    """
    token = _drawn.set(None if seeds is None else _Drawn(seeds))
    try:
        yield
    finally:
        _drawn.reset(token)


class _Drawn:
    def __init__(self, seeds: Sequence[int]):
        self.seeds = seeds
        self.layers: dict[int, int] = {}

    def of(self, layer: nn.Module) -> list[int]:
        """The seeds of one layer: as many as samples, and others for each layer, in the order in which layers are first met."""
        number = self.layers.setdefault(id(layer), len(self.layers))
        # A large odd step, so that the layers of neighbouring seeds do not share masks.
        return [(seed + number * 0x9E3779B97F4A7C15) % 2**63 for seed in self.seeds]


_drawn: ContextVar[_Drawn | None] = ContextVar("drawn", default=None)
