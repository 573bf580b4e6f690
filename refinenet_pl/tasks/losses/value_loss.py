"""Interface of the losses of continuous targets (depth, normals, heatmaps, labels)."""

import torch
from torch import Tensor, nn


class ValueLoss(nn.Module):
    """Base class of the losses of continuous targets, as sums over a batch.

    A loss is a sum over images, and an image's share depends on no other image. `total / weight` is therefore a mean over any
    number of images, however they are distributed over batches and processes. A subclass implements `per_image`.

    Attributes:
        logits: True if predictions are the network's output before the sigmoid, False if they are values. In float32, the
            sigmoid of an output above 17 is exactly 1 and has a gradient of 0, so a loss of probabilities could not correct it.
    """

    logits: bool = False

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the loss in float32, or in the prediction's dtype if that is wider.

        Args:
            prediction: Values or, with `logits`, the output before the sigmoid; float (N, C, H, W).
            target: Float (N, C, H, W). Its numbers have no effect where `valid` is False; they may be NaN or infinite.
            valid: Bool (N, C, H, W).

        Returns:
            The summed loss and the sum of its weights, two float scalars; both are 0 without a valid value.

        Raises:
            ValueError: The shapes differ.
        """
        shapes = [tuple(tensor.shape) for tensor in (prediction, target, valid)]
        if len(set(shapes)) > 1:
            raise ValueError("prediction {}, target {} and valid {} must have the same shape".format(*shapes))
        dtype = torch.promote_types(prediction.dtype, torch.float32)
        totals, weights = self.per_image(prediction.to(dtype), target.to(dtype), valid)
        return totals.sum(), weights.sum().to(dtype)

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the loss of each image; arguments as in `forward`, with `prediction` and `target` in the same dtype.

        Returns:
            The summed loss of each image, float (N,), and its weight, int64 (N,).
        """
        raise NotImplementedError


def sum_per_image(values: Tensor) -> Tensor:
    """Sum (N, C, H, W) over all but the first dimension; int64 for bool values, which are counted."""
    return values.flatten(1).sum(1)
