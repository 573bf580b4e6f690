"""Evaluation of a network: its views of the images, its metrics and its loss."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from refinenet_pl.dtypes import to_float64
from refinenet_pl.evaluation.image_scores import ImageScores
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.evaluation.result import EvaluationResult
from refinenet_pl.metrics.boundary import BoundaryCounts
from refinenet_pl.metrics.confusion import ConfusionMatrix, Scores, image_miou, scores
from refinenet_pl.metrics.double_mean import DoubleMean
from refinenet_pl.models.dense_network import DenseNetwork

Criterion = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps log probabilities, float (N, C, H, W), and labels, int64 (N, H, W), to the summed loss and the sum of weights."""


class Evaluator(nn.Module):
    """Counts of one evaluation, exact on any number of processes.

    Args:
        classes: Number of classes.
        ignore_index: Label of the pixels that do not count.
        inference: Views of the images; can be replaced later.
        criterion: The loss.

    Attributes:
        inference: Views of the images.
        class_channels: Channel of each class of the dataset; None if the order is the same.
    """

    def __init__(self, classes: int, ignore_index: int, inference: Inference, criterion: Criterion):
        super().__init__()
        self.inference = inference
        self.criterion = criterion
        self.class_channels: list[int] | None = None
        self.confusion = ConfusionMatrix(classes, ignore_index, inference.predicts_void)
        self.boundary = BoundaryCounts(classes, ignore_index)
        self.images = ImageScores()
        # Sums in float64, weighted by pixels, because Lightning's mean over processes is wrong for unequal numbers of samples.
        self._loss = DoubleMean()

    @property
    def loss(self) -> MeanMetric:
        """Mean of the loss over all labeled pixels."""
        return self._loss.on(self.confusion.device)

    def update(
        self,
        network: DenseNetwork,
        image: Tensor,
        label: Tensor,
        normalize: Callable[[Tensor], Tensor],
        names: Sequence[str] = (),
    ) -> Tensor:
        """Evaluate images of one size.

        Args:
            network: The network.
            image: uint8 or float (N, C, H, W) in 0..255.
            label: int64 (N, H, W).
            normalize: Maps uint8 or float (N, C, H, W) in 0..255 to the network's input.
            names: Name of each image; empty if unknown.

        Returns:
            Predicted class ids, int64 (N, H, W), with the number of classes for void if it can be predicted.
        """
        loss, parts = self.loss, []
        for rows, log_probabilities in self.inference.log_probabilities(network, image, normalize):
            if self.class_channels is not None:  # void, if it can be predicted, stays the last
                void = range(len(self.class_channels), log_probabilities.shape[1])
                log_probabilities = log_probabilities[:, [*self.class_channels, *void]]
            total, weight = self.criterion(log_probabilities, label[:, rows])
            if weight > 0:
                loss.update(to_float64(total) / to_float64(weight), to_float64(weight))
            parts.append(log_probabilities.argmax(1))
        prediction = torch.cat(parts, 1)
        self.confusion.update(prediction, label)
        self.boundary.update(prediction, label)
        if names:
            self.images.add(names, image_miou(prediction, label, self.confusion, self._labeled_only))
        return prediction

    def compute(
        self, names: Sequence[str], weights: str = "", pooling_activity: Sequence[float] = ()
    ) -> EvaluationResult[Scores]:
        """Compute the result over all processes.

        Args:
            names: Names of the classes.
            weights: Digest of the evaluated weights.
            pooling_activity: Activity in the same evaluation.
        """
        confusion, boundary = (metric.compute().cpu().numpy() for metric in (self.confusion, self.boundary))
        found, images = scores(confusion, list(names), self._labeled_only, boundary), self.images.gather()
        loss = self.loss.compute().item()
        return EvaluationResult(found, loss, self.inference, weights, pooling_activity, images=images)

    @property
    def _labeled_only(self) -> bool:
        return self.inference.protocol == "paper"

    def reset(self) -> None:
        """Reset all counts."""
        for metric in (self.confusion, self.boundary, self.loss, self.images):
            metric.reset()
