"""Losses of continuous targets that are sums over values or pixels."""

import torch
from torch import Tensor

from refinenet_pl.tasks.losses.value_loss import ValueLoss, sum_per_image


class L1(ValueLoss):
    """Absolute residual; the weight is the number of valid values.

    Source, for depth: Ma and Karaman, "Sparse-to-Dense: Depth Prediction from Sparse Depth Samples and a Single Image", ICRA
    2018.
    """

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        return sum_per_image((prediction - target).where(valid, 0).abs()), sum_per_image(valid)


class L2(ValueLoss):
    """Squared residual; the weight is the number of valid values, so `total / weight` is the mean squared error.

    Source, for heatmaps: Tompson et al., "Joint Training of a Convolutional Network and a Graphical Model for Human Pose
    Estimation", NeurIPS 2014.
    """

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        return sum_per_image((prediction - target).where(valid, 0).square()), sum_per_image(valid)


class Cosine(ValueLoss):
    """1 minus the cosine of the angle between the predicted and the target vector of a pixel, in 0..2.

    The weight is the number of valid pixels. A pixel is valid if all its channels are.

    Source: Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-scale Convolutional
    Architecture", ICCV 2015: the mean negative dot product of the normalized vectors, to which this loss adds 1.

    Args:
        min_norm: Vectors that are shorter are divided by it instead of their norm. It bounds the gradient, which grows with the
            inverse of the prediction's norm.
    """

    def __init__(self, min_norm: float = 1e-3):
        super().__init__()
        if min_norm <= 0:
            raise ValueError(f"min_norm is {min_norm}; it must be greater than 0")
        self.min_norm = min_norm

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        valid = valid.all(1, keepdim=True)
        # Masked before the product, in whose gradient 0 times NaN would be NaN.
        target = self._normalize(target.where(valid, 0))
        similarity = (self._normalize(prediction) * target).sum(1, keepdim=True)
        return sum_per_image((1 - similarity).where(valid, 0)), sum_per_image(valid)

    def _normalize(self, vectors: Tensor) -> Tensor:
        return vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp(min=self.min_norm)
