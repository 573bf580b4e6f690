"""Dropout with a mask per sample, independent of the process and the batch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` that samples each mask from the sample's own seed if `set_sample_seeds` was called.

    A sample then has the same mask on any process, in any batch, and when a step is repeated after an interruption.

    Attributes:
        layer: Number of this layer in the network, so that each layer has different masks; see `number_layers`.
        seeds: int64 (N,) on the CPU, one per sample of the batch; None for masks from torch's generator.
    """

    layer = 0
    seeds: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements in training: float (N, C, ...) -> the same shape."""
        return x * _factors(x.detach(), self.seeds, self.p, self.layer) if self.training and self.p > 0 else x


def number_layers(network: nn.Module) -> None:
    """Number the dropout layers of a network with a rate above 0."""
    for number, layer in enumerate(_layers(network)):
        layer.layer = number


def set_sample_seeds(network: nn.Module, seeds: Sequence[int] | None) -> None:
    """Set the seeds of the samples of the next batch in the dropout layers of a network.

    Args:
        network: Any network.
        seeds: Integers from 0 to 2**63 - 1, one per sample; None for masks from torch's generator.
    """
    given = None if seeds is None else torch.tensor(seeds, dtype=torch.int64, device="cpu")
    for layer in _layers(network):
        layer.seeds = given


def _layers(network: nn.Module) -> list[Dropout]:
    return [module for module in network.modules() if isinstance(module, Dropout) and module.p > 0]


# A custom operator, because torch.compile cannot trace generators.
@torch.library.custom_op("refinenet_pl::dropout_factors", mutates_args=())
def _factors(x: Tensor, seeds: Tensor | None, rate: float, layer: int) -> Tensor:
    """Sample factors of the features' shape, 0 or 1 / (1 - rate), in channels_last memory format."""
    kept = 1 - rate
    if seeds is None:
        return _empty(x).copy_(F.dropout(torch.ones_like(x), rate))
    if len(seeds) != len(x):
        raise ValueError(f"{len(seeds)} seeds for a batch of {len(x)} samples; give one seed per sample")
    factors = _empty(x)
    for factor, seed in zip(factors, seeds.tolist(), strict=True):
        # A large odd step, so that layers do not share masks if the seeds of samples are consecutive.
        generator = torch.Generator(x.device).manual_seed((seed + layer * 0x9E3779B97F4A7C15) % 2**63)
        factor.movedim(0, -1).bernoulli_(kept, generator=generator)
    return factors.mul_(1 / kept if kept else 0)


@_factors.register_fake
def _(x: Tensor, seeds: Tensor | None, rate: float, layer: int) -> Tensor:
    return _empty(x)


def _empty(x: Tensor) -> Tensor:
    shape = (len(x), *x.shape[2:], x.shape[1])
    return torch.empty(shape, device=x.device, dtype=x.dtype).movedim(-1, 1)
