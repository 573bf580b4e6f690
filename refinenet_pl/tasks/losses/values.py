"""Losses of continuous targets by name, and their combinations."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from torch import Tensor, nn

from refinenet_pl.tasks.losses.depth import BerHu, GradientMatching, ScaleInvariantLog
from refinenet_pl.tasks.losses.keypoints import SoftArgmax
from refinenet_pl.tasks.losses.labels import BinaryCrossEntropy, BinaryDice
from refinenet_pl.tasks.losses.plain_values import PlainValueLoss
from refinenet_pl.tasks.losses.pointwise import L1, L2, Cosine
from refinenet_pl.tasks.losses.value_loss import ValueLoss, sum_per_image

# jsonargparse would compare another str with the names of all modules, which takes a second at each start.
LossName = Literal["l1", "l2", "berhu", "silog", "gradient", "cosine", "soft_argmax", "bce", "dice"]

LOSSES: dict[str, type[ValueLoss]] = {
    "l1": L1,
    "l2": L2,
    "berhu": BerHu,
    "silog": ScaleInvariantLog,
    "gradient": GradientMatching,
    "cosine": Cosine,
    "soft_argmax": SoftArgmax,
    "bce": BinaryCrossEntropy,
    "dice": BinaryDice,
}
"""Classes whose arguments are options with defaults."""


class WeightedSum(ValueLoss):
    """Weighted sum of the means of several losses.

    The losses count different things (values, pixels, keypoints, labels), but a step's gradients can be divided by one number
    only, see `GlobalMeanLoss`. The mean of each loss over an image is therefore multiplied by the image's number of valid
    values, which is the weight of the sum. On any number of processes, `total / weight` is the weighted sum of the losses'
    means over images, in which an image counts as often as it has valid values:

    - For `l1`, `l2`, `berhu`, `silog`, `gradient` and `bce` (which count values) and `cosine` (a constant share of the values),
      this mean equals `total / weight` of the loss alone.
    - For `soft_argmax` and `dice`, it equals that only if the ratio of keypoints or labels that count to valid values is the
      same in all images. An image with valid values but no keypoint or label that counts contributes 0.

    If one of the losses expects logits, so does the sum, which computes the values for the others.

    Args:
        losses: The losses to add.
        weights: Factor of each one.
    """

    def __init__(self, losses: Sequence[ValueLoss], weights: Sequence[float]):
        super().__init__()
        if not losses or len(losses) != len(weights):
            raise ValueError(f"{len(losses)} losses and {len(weights)} weights; give at least one loss and one weight for each")
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(weights)
        self.logits = any(loss.logits for loss in losses)

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        count = sum_per_image(valid)
        total = prediction.new_zeros(len(prediction))
        values = prediction.sigmoid() if self.logits else prediction
        for loss, factor in zip(cast(Sequence[ValueLoss], self.losses), self.weights, strict=True):
            part, weight = loss.per_image(prediction if loss.logits else values, target, valid)
            total = total + factor * (part / weight.clamp(min=1) * count)
        return total, count


def build_loss(loss: nn.Module | Mapping[str, float] | str, activation: str) -> ValueLoss:
    """Build a loss of continuous targets.

    Args:
        loss: Name in `LOSSES`; weights of several names, see `WeightedSum`; a `ValueLoss` with its own options; or another
            module, see `PlainValueLoss`.
        activation: Mapping from the network's output to values.

    Raises:
        ValueError: A name is unknown, a weight is negative, all are 0, or the loss needs another activation.
    """
    built = _wrap(loss) if isinstance(loss, nn.Module) else _build_by_name(loss)
    if built.logits and activation != "sigmoid":
        raise ValueError(f"activation is {activation!r}, but the loss contains a sigmoid; set model.activation to sigmoid")
    return built


def _wrap(module: nn.Module) -> ValueLoss:
    if isinstance(module, nn.BCEWithLogitsLoss):
        raise ValueError("BCEWithLogitsLoss would apply a sigmoid to values; use the loss bce, or its class BinaryCrossEntropy")
    return module if isinstance(module, ValueLoss) else PlainValueLoss(module)


def _build_by_name(loss: Mapping[str, float] | str) -> ValueLoss:
    weights = {loss: 1.0} if isinstance(loss, str) else dict(loss)
    if unknown := [name for name in weights if name not in LOSSES]:
        raise ValueError(f"loss is {unknown[0]!r}; choose from {', '.join(LOSSES)}")
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight of loss {name} is {weight}; it must be finite and at least 0")
    if not any(weights.values()):
        raise ValueError("loss has no weight above 0; give a name, or names with weights such as {l1: 1, gradient: 0.5}")
    losses = [LOSSES[name]() for name in weights]
    return losses[0] if isinstance(loss, str) else WeightedSum(losses, list(weights.values()))
