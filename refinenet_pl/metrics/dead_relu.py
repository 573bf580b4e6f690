"""Dead ReLUs before chained residual pooling: the activity of a network, and inactive RefineNet blocks in records."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from refinenet_pl.dtypes import to_float64
from refinenet_pl.models.blocks import ChainedResidualPooling

MIN_SHARE = 0.05
"""Min share of positive values before the pooling of an active block; blocks that contribute to the scores have 0.1 to 0.5."""


class Activity(NamedTuple):
    """Activity of the ReLUs before the pooling of each block, deepest block first.

    Attributes:
        positive: Share of values above 0, about 0.5 before training.
        dead: Share of channels in which no value was above 0.
    """

    positive: list[float]
    dead: list[float]


class PoolingActivity(Metric):
    """Activity of the ReLU before each block's chained residual pooling.

    This ReLU is on the main path of a block. If the weights make all its inputs negative, they no longer get a gradient: the
    block and all deeper ones stay inactive, and the training continues without them.

    Args:
        network: Any network. Only chained residual poolings with a ReLU are counted; most networks have none.
    """

    full_state_update = False
    counts: Tensor
    alive: Tensor

    def __init__(self, network: nn.Module):
        super().__init__()
        units = (module for module in network.modules() if isinstance(module, ChainedResidualPooling))
        # A tuple, because the metric would register the network's parameters as its own otherwise.
        self.units = tuple(unit for unit in units if unit.relu)
        self.add_state("counts", torch.zeros(2, len(self.units), dtype=torch.long), dist_reduce_fx="sum")
        channels = max((unit.channels for unit in self.units), default=0)
        self.add_state("alive", torch.zeros(len(self.units), channels, dtype=torch.long), dist_reduce_fx="max")

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count all forward passes of the network in this context."""
        handles = [unit.register_forward_pre_hook(self._hook(place)) for place, unit in enumerate(self.units)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, place: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def count(unit: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.update(place, inputs[0])

        return count

    def update(self, place: int, values: Tensor) -> None:
        """Count the inputs of one block's pooling.

        Args:
            place: Index of the block, 0 for the deepest.
            values: Float (N, C, H, W).
        """
        positive = values > 0
        self.counts[0, place] += positive.sum()
        self.counts[1, place] += values.numel()
        self.alive[place, : values.shape[1]] |= positive.any(3).any(2).any(0).long()

    def compute(self) -> Activity:
        """Compute the shares over all processes; they are empty if nothing was counted."""
        counts, alive = to_float64(self.counts), to_float64(self.alive.sum(1))
        if not counts[1].all():
            return Activity([], [])
        channels = to_float64(torch.tensor([unit.channels for unit in self.units], device=self.alive.device))
        return Activity((counts[0] / counts[1]).tolist(), (1 - alive / channels).tolist())


def inactive_blocks(records: Mapping[tuple[str, int], dict[str, Any]]) -> list[str]:
    """Describe blocks with less than `MIN_SHARE` positive values before the pooling's ReLU at the end of training.

    Args:
        records: Records by cell and seed. Records without `pooling_activity` (of networks without that ReLU) are skipped.

    Returns:
        A sentence for each cell with such blocks.
    """
    found: dict[str, dict[int, dict[int, float]]] = {}
    for (cell, seed), record in records.items():
        shares = enumerate(record.get("pooling_activity") or [], start=1)
        if inactive := {block: share for block, share in shares if share < MIN_SHARE}:
            found.setdefault(cell, {})[seed] = inactive
    return [f"{cell} trained without {_describe(inactive)}" for cell, inactive in found.items()]


def _describe(inactive: dict[int, dict[int, float]]) -> str:
    blocks = sorted({block for shares in inactive.values() for block in shares})
    largest = max(share for shares in inactive.values() for share in shares.values())
    return (
        f"block {', '.join(map(str, blocks))} (1 is the deepest; seed {', '.join(map(str, inactive))}): the ReLU before its "
        f"pooling lets at most {100 * largest:.1f} % through"
    )
