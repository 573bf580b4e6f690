"""Dead ReLUs before chained residual pooling: statistics of a network, and the inactive RefineNet blocks in records."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from refinenet_pl.models.blocks import ChainedResidualPooling

# Of the values that enter a block's pooling; those of blocks that contribute to the scores are at 10 to 50 %.
MIN_SHARE = 0.05


class PoolingActivity(Metric):
    """Counts, for each RefineNet block, the values that enter its chained residual pooling and those above 0.

    The ReLU is on the trunk of a block. Weights that push all its inputs below 0 get no gradient any more: the block and all
    deeper ones are then inactive, and the training continues without them.

    Args:
        network: Any network. Blocks without that ReLU are not counted, so that most networks have none that are.
    """

    full_state_update = False

    def __init__(self, network: nn.Module):
        super().__init__()
        units = (module for module in network.modules() if isinstance(module, ChainedResidualPooling))
        # A tuple, or the metric would hold the network's parameters as its own.
        self.units = tuple(unit for unit in units if unit.relu)
        self.add_state("counts", torch.zeros(2, len(self.units), dtype=torch.long), dist_reduce_fx="sum")

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what passes within."""
        handles = [unit.register_forward_pre_hook(self._hook(place)) for place, unit in enumerate(self.units)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, place: int):
        def count(unit: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.update(place, inputs[0])

        return count

    def update(self, place: int, values: Tensor) -> None:
        """Count what enters one block's pooling.

        Args:
            place: Of the block, 0 for the deepest.
            values: Float, any shape.
        """
        self.counts[0, place] += (values > 0).sum()
        self.counts[1, place] += values.numel()

    def compute(self) -> list[float]:
        """Share of values above 0, deepest block first, about 0.5 before training; empty where none were counted."""
        counts = self.counts.double()
        return (counts[0] / counts[1]).tolist() if counts[1].all() else []


def inactive_blocks(records: Mapping[tuple[str, int], dict[str, Any]]) -> list[str]:
    """Describe blocks whose ReLU before the pooling passes less than `MIN_SHARE` at the end of training.

    Args:
        records: Records by cell and seed. Those without `pooling_activity`, as of networks without that ReLU, have none.

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
