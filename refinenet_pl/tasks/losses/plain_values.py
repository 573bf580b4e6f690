"""Adapter of other losses of continuous targets."""

import torch
from torch import Tensor, nn

from refinenet_pl.tasks.losses.value_loss import ValueLoss


class PlainValueLoss(ValueLoss):
    """Loss of another library, such as those of torch.nn.

    The weight is the number of images with a valid value, and the total is this number times the module's loss of these images.
    If that loss is not a mean over images with equal shares, training depends on the distribution of images over batches and
    processes, unlike with the losses of this package.

    The module does not get `valid`. Invalid targets are the prediction itself, without a gradient, so a loss of the difference
    is 0 there; such pixels still count in the module's mean.

    Args:
        module: Maps values and targets, float (N, C, H, W), to the loss, a float scalar.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the module's loss as the loss of each image with a valid value; see `ValueLoss.per_image`.

        Raises:
            ValueError: The module's loss is not a scalar.
        """
        known = valid.flatten(1).any(1)
        weights = known.long()
        if not known.any():
            return prediction.flatten(1)[:, :0].sum(1), weights
        chosen = prediction[known]
        loss = self.module(chosen, target[known].where(valid[known], chosen.detach()))
        if not isinstance(loss, Tensor) or loss.ndim:
            found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"{type(self.module).__name__} returns {found}; the loss must be a scalar, such as a mean")
        return loss.to(torch.promote_types(loss.dtype, prediction.dtype)) * weights, weights
