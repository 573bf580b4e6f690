"""Losses of segmentation by name, and their combinations."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from torch import Tensor, nn

from refinenet_pl.models.ops.resize import Upsampling
from refinenet_pl.tasks.losses.boundary import BoundaryCrossEntropy
from refinenet_pl.tasks.losses.lovasz import LovaszSoftmax
from refinenet_pl.tasks.losses.pixel_losses import CrossEntropyLoss, Focal, OhemCrossEntropy
from refinenet_pl.tasks.losses.plain import PlainLoss
from refinenet_pl.tasks.losses.region_losses import Dice, Tversky
from refinenet_pl.tasks.losses.segmentation_loss import SegmentationLoss

# jsonargparse would compare another str with the names of all modules, which takes a second at each start.
LossName = Literal["cross_entropy", "focal", "ohem", "dice", "tversky", "lovasz", "boundary"]

SEGMENTATION_LOSSES: dict[str, type[SegmentationLoss]] = {
    "cross_entropy": CrossEntropyLoss,
    "focal": Focal,
    "ohem": OhemCrossEntropy,
    "dice": Dice,
    "tversky": Tversky,
    "lovasz": LovaszSoftmax,
    "boundary": BoundaryCrossEntropy,
}
"""Classes whose arguments are `ignore_index`, `class_weights` and options with defaults."""


class WeightedSum(SegmentationLoss):
    """Weighted sum of the means of several losses.

    The losses count different things (images, pixels, hard pixels), but a step's gradients can be divided by one number only,
    see `GlobalMeanLoss`. The mean of each loss over an image is therefore multiplied by one weight of the image, which is the
    weight of the sum. On any number of processes, `total / weight` is the weighted sum of the losses' means over images:

    - If all losses count images (`dice`, `tversky`, `lovasz`), each image has weight 1. Each mean equals `total / weight` of
      the loss alone.
    - Otherwise, the weight of an image is the sum of the class weights of its labeled pixels. For `cross_entropy` and `focal`,
      which count these, the mean equals `total / weight` of the loss alone. For `ohem`, `boundary` and losses that count
      images, it equals that only if the ratio of the loss's weight to this one is the same in all images.

    An image in which a loss counts nothing contributes 0 to the mean of that loss.

    Args:
        losses: The losses to add; the first one's `ignore_index` and class weights define the weight of pixels.
        weights: Factor of each one.
    """

    def __init__(self, losses: Sequence[SegmentationLoss], weights: Sequence[float]):
        if not losses or len(losses) != len(weights):
            raise ValueError(f"{len(losses)} losses and {len(weights)} weights; give at least one loss and one weight for each")
        if len({loss.ignore_index for loss in losses}) > 1:
            raise ValueError("the losses have different values of ignore_index; give all the same")
        class_weights = losses[0].class_weights
        super().__init__(losses[0].ignore_index, None if class_weights is None else class_weights.tolist())
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(weights)
        self.counts_images = all(loss.counts_images for loss in losses)

    def per_image(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """See `SegmentationLoss.per_image`."""
        count = self.label_weights(label, scores.dtype).sum((1, 2))
        if self.counts_images:
            count = (count > 0).to(scores.dtype)
        total = scores.new_zeros(len(scores))
        for loss, factor in zip(cast(Sequence[SegmentationLoss], self.losses), self.weights, strict=True):
            part, weight = loss.per_image(scores, label, how)
            total = total + factor * (part / weight.where(weight > 0, 1) * count)
        return total, count


def build_loss(
    loss: str | Mapping[str, float] | nn.Module, ignore_index: int, class_weights: Sequence[float] | None
) -> SegmentationLoss:
    """Build a loss of segmentation.

    Args:
        loss: Name in `SEGMENTATION_LOSSES`; weights of several names, see `WeightedSum`; a `SegmentationLoss` with its own
            options; or another module, see `PlainLoss`.
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each, or if `loss` is a module.

    Raises:
        ValueError: A name is unknown, a weight is negative, all are 0, or a module does not match the other arguments.
    """
    if isinstance(loss, nn.Module):
        if class_weights is not None:
            raise ValueError(f"class_weights have no effect on a loss module; give them to {type(loss).__name__}")
        if not isinstance(loss, SegmentationLoss):
            return PlainLoss(loss, ignore_index)
        if loss.ignore_index != ignore_index:
            raise ValueError(f"ignore_index of the loss is {loss.ignore_index}; set it to that of the labels, {ignore_index}")
        return loss
    weights = {loss: 1.0} if isinstance(loss, str) else dict(loss)
    if unknown := [name for name in weights if name not in SEGMENTATION_LOSSES]:
        raise ValueError(f"loss is {unknown[0]!r}; choose from {', '.join(SEGMENTATION_LOSSES)}")
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight of loss {name} is {weight}; it must be finite and at least 0")
    if not any(weights.values()):
        raise ValueError("loss has no weight above 0; give a name, or names with weights such as {cross_entropy: 1, dice: 0.5}")
    losses = [SEGMENTATION_LOSSES[name](ignore_index, class_weights) for name in weights]
    return losses[0] if isinstance(loss, str) else WeightedSum(losses, list(weights.values()))
