"""Losses of segmentation that compare the area of each class with its overlap."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from refinenet_pl.models.ops.resize import Upsampling
from refinenet_pl.tasks.losses.chunks import over_chunks
from refinenet_pl.tasks.losses.segmentation_loss import RegionLoss


class Tversky(RegionLoss):
    """Tversky loss of the classes of each image; its weight is 1, see `RegionLoss`.

    For the true positives TP (sum of p_c over the class's pixels), false positives FP (sum of p_c over other labeled pixels)
    and false negatives FN (sum of 1 - p_c over the class's pixels), the loss of a class is
    (1 - TP / (TP + alpha FP + beta FN))^(1 / gamma). No smoothing constant is needed: the denominator is greater than 0 for a
    class that occurs.

    Sources: Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks", MLMI
    2017; gamma: Abraham and Khan, "A Novel Focal Tversky Loss Function with Improved Attention U-Net for Lesion Segmentation",
    ISBI 2019. In other code, gamma is the exponent itself.

    Args:
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each.
        alpha: Weight of false positives, at least 0.
        beta: Weight of false negatives, greater than 0; above `alpha` for higher recall.
        gamma: 1 for the Tversky loss; 4/3 in the source of the focal Tversky loss, which emphasizes classes with a small loss.
    """

    def __init__(
        self,
        ignore_index: int,
        class_weights: Sequence[float] | None = None,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 1.0,
    ):
        super().__init__(ignore_index, class_weights)
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha is {alpha}; it must be finite and at least 0")
        for name, value in (("beta", beta), ("gamma", gamma)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; it must be finite and greater than 0")
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma

    def per_class(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """See `RegionLoss.per_class`."""
        classes = torch.arange(scores.shape[1], device=label.device)[:, None, None]

        def chunk_sums(logits: Tensor, rows: slice) -> Tensor:
            probability, part = logits.softmax(1), label[:, None, rows]
            in_class = part == classes
            elsewhere = ~in_class & (part >= 0)
            overlap, false_positives = (probability.where(mask, 0).sum((2, 3)) for mask in (in_class, elsewhere))
            return torch.stack([overlap, false_positives, in_class.sum((2, 3)).to(probability.dtype)])

        parts = over_chunks(chunk_sums, scores, (label.shape[1], label.shape[2]), how)
        overlap, false_positives, pixels = torch.stack(parts).sum(0)
        weighted = self.alpha * false_positives + self.beta * (pixels - overlap)
        # x / (TP + x), which equals 1 - TP / (TP + x).
        loss = weighted / (overlap + weighted).where(pixels > 0, 1)
        if self.gamma != 1:
            # At 0, a power below 1 would have an infinite gradient.
            loss = loss.clamp(min=torch.finfo(loss.dtype).eps) ** (1 / self.gamma)
        return loss, pixels


class Dice(Tversky):
    """Dice loss of the classes of each image, 1 - 2 TP / (2 TP + FP + FN); its weight is 1, see `RegionLoss` and `Tversky`.

    Sources: Drozdzal et al., "The Importance of Skip Connections in Biomedical Image Segmentation", DLMIA 2016; Milletari et
    al., "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation", 3DV 2016, whose Eq. 3 has
    squares in the denominator.

    Args:
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each.
    """

    def __init__(self, ignore_index: int, class_weights: Sequence[float] | None = None):
        super().__init__(ignore_index, class_weights, alpha=0.5, beta=0.5)
