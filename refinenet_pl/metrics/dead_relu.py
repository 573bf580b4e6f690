"""How much the ReLUs before chained residual pooling let through: where next to nothing, a RefineNet block adds nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from refinenet_pl.models.blocks import ChainedResidualPooling


class PoolingActivity(Metric):
    """Counts, for each RefineNet block, the values that enter its chained residual pooling and those above 0.

    The ReLU stands on the trunk of a block. Weights that have learned to push all it gets below 0 have no gradient to come back
    by; the block and all deeper ones are then lost to the network, which trains on without a word.

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
