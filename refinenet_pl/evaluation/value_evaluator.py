"""Evaluation of a network that predicts continuous values: its views of the images, its metric and its loss."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from refinenet_pl.datasets.values import Values
from refinenet_pl.dtypes import to_float64
from refinenet_pl.evaluation.image_scores import ImageScores
from refinenet_pl.evaluation.result import EvaluationResult
from refinenet_pl.evaluation.value_inference import Activation, ValueInference
from refinenet_pl.metrics.depth import DepthErrors, DepthScores
from refinenet_pl.metrics.double_mean import DoubleMean
from refinenet_pl.metrics.keypoints import KeypointAccuracy, KeypointScores
from refinenet_pl.metrics.labels import LabelCounts, LabelScores
from refinenet_pl.metrics.normals import NormalErrors, NormalScores
from refinenet_pl.metrics.score import ScoreSet
from refinenet_pl.metrics.values import Errors, ErrorScores, ValuesMetric
from refinenet_pl.models.dense_network import DenseNetwork


def scores_of(values: Values) -> type[ScoreSet]:
    """Class of the scores for the meaning of the values."""
    kinds: dict[str, type[ScoreSet]] = {
        "depth": DepthScores,
        "normals": NormalScores,
        "heatmap": KeypointScores,
        "labels": LabelScores,
    }
    return kinds.get(values.kind, ErrorScores)


def build_metric(values: Values, options: dict[str, Any] | None = None) -> ValuesMetric:
    """Build the metric for the meaning of the values.

    Args:
        values: The values.
        options: Arguments of the metric, such as `average` and `crop` of `DepthErrors`.

    Raises:
        ValueError: The metric does not have such an argument, or not such a value.
    """
    arguments = options or {}
    try:
        match values.kind:
            case "depth":
                return DepthErrors(**arguments)
            case "normals":
                return NormalErrors(**arguments)
            case "heatmap":
                return KeypointAccuracy(values.names, **arguments)
            case "labels":
                return LabelCounts(values.names, **arguments)
        return Errors(values.names, **arguments)
    except TypeError as error:
        raise ValueError(f"metric_options {arguments} are not those of the metric of {values.kind}: {error}") from None


class ValueEvaluator(nn.Module):
    """Sums of one evaluation, exact on any number of processes.

    Args:
        values: The values.
        activation: Mapping from the network's output to values.
        criterion: The loss, see `ValueLoss`.
        metric: See `build_metric`.
        loss_of_logits: The loss expects the network's output before the sigmoid, see `ValueLoss.logits`.

    Attributes:
        inference: Views of the images; can be replaced.
    """

    def __init__(
        self,
        values: Values,
        activation: Activation,
        criterion: nn.Module,
        metric: ValuesMetric,
        loss_of_logits: bool = False,
    ):
        super().__init__()
        self.values = values
        self.activation = activation
        self._criterion = (criterion,)  # in a tuple, because it is a module of the task
        self.loss_of_logits = loss_of_logits
        self.metric = metric
        self.images = ImageScores()
        self.inference = ValueInference()
        self._loss = DoubleMean()

    @property
    def loss(self) -> MeanMetric:
        """Mean of the loss over all values that count."""
        return self._loss.on(self.metric.device)

    def update(
        self,
        network: DenseNetwork,
        image: Tensor,
        target: Tensor,
        normalize: Callable[[Tensor], Tensor],
        names: Sequence[str] = (),
    ) -> Tensor:
        """Evaluate images of one size.

        Args:
            network: The network.
            image: uint8 or float (N, C, H, W) in 0..255.
            target: Float (N, channels, H, W), NaN where unknown.
            normalize: Maps uint8 or float (N, C, H, W) in 0..255 to the network's input.
            names: Name of each image; empty if unknown.

        Returns:
            Predicted values, float (N, channels, H, W).
        """
        valid = ~target.isnan()
        prediction = self.inference.predict(network, image, normalize, self.activation, self.values)
        total, weight = self._criterion[0](self._loss_input(prediction), target, valid)
        if weight > 0:
            self.loss.update(to_float64(total) / to_float64(weight), to_float64(weight))
        known = target.nan_to_num()
        self.metric.update(prediction, known, valid)
        if names:
            self.images.add(names, self.metric.image_scores(prediction, known, valid))
        return prediction

    def _loss_input(self, prediction: Tensor) -> Tensor:
        """Values, or their logits if the loss expects the output before the sigmoid; views are averaged after it."""
        if not self.loss_of_logits:
            return prediction
        # Probabilities that are rounded to 0 or 1 get the nearest logits that differ from them.
        return prediction.logit(torch.finfo(prediction.dtype).eps)

    def compute(self, weights: str = "", pooling_activity: Sequence[float] = ()) -> EvaluationResult[ScoreSet]:
        """Compute the result over all processes.

        Args:
            weights: Digest of the evaluated weights.
            pooling_activity: Activity in the same evaluation.
        """
        found, loss, images = self.metric.scores(), self.loss.compute().item(), self.images.gather()
        return EvaluationResult(found, loss, self.inference, weights, pooling_activity, images=images)

    def reset(self) -> None:
        """Reset all sums."""
        self.metric.reset()
        self.loss.reset()
        self.images.reset()
