"""Parts of all metrics of continuous targets, and the errors of values of any kind."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from refinenet_pl.dtypes import float64_device, to_float64
from refinenet_pl.metrics.score import Score, ScoreSet

RMSE = Score("rmse", "RMSE", "", higher_is_better=False, decimals=3, margin=0.01)
"""Root mean squared error, in the unit of the values."""


class ValuesMetric(Metric):
    """Base class of the metrics of continuous targets: sums over valid values, for any order and number of processes.

    The sums are integers or float64. They keep their dtype if the metric or its owner is converted to another one, and are on
    the CPU if the device has no float64.
    """

    full_state_update = False

    @abstractmethod
    def scores(self) -> ScoreSet:
        """Compute the scores over all processes."""

    def image_scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> list[float | None]:
        """Compute the primary score of each image of a batch; this metric is not changed.

        Args:
            prediction: Float (N, C, H, W).
            target: Float (N, C, H, W).
            valid: Bool (N, C, H, W); other values do not count.

        Returns:
            N numbers; None for an image in which nothing counts.
        """
        single, found = deepcopy(self), list[float | None]()
        # An image is evaluated by one process. `sync_on_compute` has no effect after the constructor.
        single.distributed_available_fn = lambda: False
        for image in zip(prediction[:, None], target[:, None], valid[:, None], strict=True):
            single.reset()
            single.update(*image)
            scores = single.scores()
            found.append(scores.known().get(scores.SCORES[0].name))
        return found

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        # The base class converts the sums to float16 in `to(torch.float16)`, and has no exception for Apple's GPUs.
        device = float64_device(fn(torch.zeros(1, device=self.device)).device)
        return super()._apply(lambda tensor: tensor.to(device), exclude_state)


@dataclass(frozen=True)
class ErrorScores(ScoreSet):
    """Errors of values of any kind, in their unit.

    Attributes:
        mae: Mean absolute error; mean over the channels with valid values.
        rmse: Root mean squared error; mean over the channels with valid values.
        per_channel: Each of these errors by channel; None for a channel without valid values.
    """

    SCORES: ClassVar = (Score("mae", "MAE", "", False, decimals=3, margin=0.01), RMSE)

    mae: float | None
    rmse: float | None
    per_channel: dict[str, dict[str, float | None]]


class Errors(ValuesMetric):
    """Mean absolute and root mean squared error of each channel.

    Args:
        names: Names of the channels.
    """

    higher_is_better = False
    sums: Tensor

    def __init__(self, names: Sequence[str]):
        super().__init__()
        self.names = list(names)
        # Number of values, absolute errors, squared errors.
        self.add_state("sums", torch.zeros(3, len(names), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add one batch.

        Args:
            prediction: Float (N, C, H, W).
            target: Float (N, C, H, W).
            valid: Bool (N, C, H, W); other values do not count.

        Raises:
            ValueError: The shapes do not fit, or a valid target is not finite.
            FloatingPointError: A prediction that counts is not finite.
        """
        check_values(prediction, target, valid, len(self.names))
        check_prediction(prediction, valid)
        counts = to_float64(valid)
        errors = (to_float64(prediction) - to_float64(target)).where(counts > 0, 0)
        self.sums += torch.stack([values.sum((0, 2, 3)) for values in (counts, errors.abs(), errors.square())])

    def compute(self) -> Tensor:
        """Compute the errors over all processes.

        Returns:
            float64 (2, C): mean absolute error and root mean squared error; NaN for a channel without valid values.
        """
        count, absolute, squared = self.sums
        return torch.stack([absolute / count, (squared / count).sqrt()])

    def scores(self) -> ErrorScores:
        """Compute the scores over all processes."""
        mae, rmse = self.compute()
        mean_mae, mean_rmse = numbers(torch.stack([mae.nanmean(), rmse.nanmean()]))
        return ErrorScores(mean_mae, mean_rmse, {"mae": named(self.names, mae), "rmse": named(self.names, rmse)})


def check_values(prediction: Tensor, target: Tensor, valid: Tensor, channels: int) -> None:
    """Check a batch of values.

    Args:
        prediction: Expected to be (N, channels, H, W).
        target: Expected to have the same shape and to be finite where it is valid.
        valid: Expected to be bool of the same shape.
        channels: Number of channels.

    Raises:
        ValueError: One of them is not as expected.
    """
    shapes = [tuple(values.shape) for values in (prediction, target, valid)]
    if shapes != [shapes[0]] * 3 or len(shapes[0]) != 4:
        raise ValueError("prediction {}, target {} and valid {} must have the same shape (N, C, H, W)".format(*shapes))
    if shapes[0][1] != channels:
        raise ValueError(f"prediction and target have {shapes[0][1]} channels; this metric expects {channels}")
    if valid.dtype != torch.bool:
        raise ValueError(f"valid is {valid.dtype}; it must be torch.bool")
    if wrong := int((valid & ~target.isfinite()).sum()):
        raise ValueError(f"{wrong} of {int(valid.sum())} valid targets are NaN or infinite; mark them as invalid")


def check_prediction(prediction: Tensor, counted: Tensor) -> None:
    """Check that a prediction is finite where it counts.

    Args:
        prediction: Float, any shape.
        counted: Bool of the same shape.

    Raises:
        FloatingPointError: It is not.
    """
    if wrong := int((counted & ~prediction.isfinite()).sum()):
        message = f"{wrong} of {int(counted.sum())} predicted values are NaN or infinite"
        raise FloatingPointError(f"{message}; the network has diverged or its numbers exceed {prediction.dtype}")


def numbers(values: Tensor) -> list[float | None]:
    """Convert a vector to plain numbers, NaN to None."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def named(names: Sequence[str], values: Tensor) -> dict[str, float | None]:
    """Convert a vector to plain numbers by name, NaN to None."""
    return dict(zip(names, numbers(values), strict=True))
