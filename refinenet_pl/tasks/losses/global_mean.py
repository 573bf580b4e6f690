"""Mean loss of an optimizer step over several processes and accumulated batches."""

from collections.abc import Iterable

import torch
from lightning import Trainer
from torch import Tensor, nn

from refinenet_pl.dtypes import to_float64


class GlobalMeanLoss:
    """Mean loss over all labeled pixels of an optimizer step, on any number of processes and accumulated batches.

    The mean of the batches' means differs from it if some batches have more void pixels or heavier classes, so the network
    would depend on the number of devices. Batches therefore add sums, and the gradients are divided by the step's total weight
    once it is known.
    """

    # Any constant would do; this power of two keeps sums over pixels within the range of float16 and is exact.
    SCALE = 2.0**16

    def __init__(self) -> None:
        self.parts: list[Tensor] = []

    def add(self, total: Tensor, weight: Tensor) -> Tensor:
        """Add a batch.

        Args:
            total: Summed loss, a float scalar.
            weight: Sum of the weights of its pixels, a scalar.

        Returns:
            The mean loss of the batch, 0 without a labeled pixel. Its gradient is that of `total / SCALE`, from which `finish`
            computes the gradient of the step's mean.
        """
        self.parts.append(torch.stack([to_float64(total.detach()), to_float64(weight)]))
        scaled = total / self.SCALE
        return scaled + (total / weight.clamp(min=1e-9) - scaled).detach()

    def finish(self, parameters: Iterable[nn.Parameter], trainer: Trainer) -> Tensor:
        """Turn the gradients into those of the step's mean loss.

        Args:
            parameters: Those with gradients, averaged over processes and accumulated batches by Lightning.
            trainer: Provides the number of processes and of accumulated batches.

        Returns:
            The mean loss, a float scalar, equal on all processes; 0 if all pixels are void.
        """
        total, weight = trainer.strategy.reduce(torch.stack(self.parts).sum(0), reduce_op="sum")
        self.parts.clear()
        weight = weight.clamp(min=1e-9)
        averaged = trainer.world_size * trainer.accumulate_grad_batches
        loss = (total / weight).float()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            dtype, device = gradients[0].dtype, gradients[0].device
            torch._foreach_mul_(gradients, (self.SCALE * averaged / weight).to(dtype).to(device))
            loss = loss.to(device)
        return loss
