"""Losses of labels that are not exclusive: each channel is a binary mask."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.tasks.losses.value_loss import ValueLoss, sum_per_image


class BinaryCrossEntropy(ValueLoss):
    """Cross-entropy of each label; the weight is the number of valid values.

    It is that of `torch.nn.BCEWithLogitsLoss`, of the network's output before the sigmoid, see `ValueLoss.logits`. The mean of
    several views of an image exists only as probabilities, of which evaluation therefore computes the logits, at most about 16.

    Args:
        positive_weights: Factor of the loss of pixels with the label: one for each label, or a single one for all; None for 1.
            Above 1 for rare labels, to increase their recall.

    Raises:
        ValueError: A factor is not finite or not above 0.
    """

    logits = True
    positive_weights: Tensor

    def __init__(self, positive_weights: Sequence[float] | None = None):
        super().__init__()
        factors = [1.0] if positive_weights is None else list(positive_weights)
        if not factors or not all(0 < factor < math.inf for factor in factors):
            raise ValueError(f"positive_weights are {factors}; give finite numbers above 0, one for each label or for all")
        # Not persistent: checkpoints do not depend on the loss.
        self.register_buffer("positive_weights", torch.tensor(factors)[:, None, None], persistent=False)

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`.

        Raises:
            ValueError: The number of factors is that of other labels.
        """
        if len(self.positive_weights) not in (1, prediction.shape[1]):
            raise ValueError(f"{len(self.positive_weights)} positive_weights for {prediction.shape[1]} labels")
        target = target.where(valid, 0)
        # Neither probabilities of 0 nor of 1 occur in these logarithms, unlike in those of sigmoids.
        positive = self.positive_weights.to(prediction.dtype) * target * F.logsigmoid(prediction)
        negative = (1 - target) * F.logsigmoid(-prediction)
        return -sum_per_image((positive + negative).where(valid, 0)), sum_per_image(valid)


class BinaryDice(ValueLoss):
    """Dice loss of each label of each image, (FP + FN) / (2 TP + FP + FN), of probabilities.

    TP is the sum of the probabilities of pixels with the label, FN that of their complements, and FP the sum of the
    probabilities of the other valid pixels. A label counts if a valid pixel of the image has it; the weight is the number of
    these labels. No loss is computed for labels that do not occur, so combine it with `bce`: `{bce: 1, dice: 1}`.

    Source: see `refinenet_pl.tasks.losses.region_losses.Dice`.
    """

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        target, prediction = target.where(valid, 0), prediction.where(valid, 0)
        found, labeled = (prediction * target).sum((2, 3)), target.sum((2, 3))
        counted = labeled > 0
        wrong = (prediction * (1 - target)).sum((2, 3)) + (labeled - found)
        loss = wrong / (2 * found + wrong).where(counted, 1)
        return loss.where(counted, 0).sum(1), counted.sum(1)
