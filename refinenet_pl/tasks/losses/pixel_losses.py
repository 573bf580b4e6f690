"""Losses of segmentation that are sums over pixels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from refinenet_pl.models.ops.resize import Upsampling
from refinenet_pl.tasks.losses.chunks import over_chunks
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy
from refinenet_pl.tasks.losses.segmentation_loss import SegmentationLoss


class PixelLoss(SegmentationLoss):
    """Base class of losses that are sums over labeled pixels, computed in chunks of rows.

    The weight is the sum of the pixels' weights, so `total / weight` is the weighted mean over labeled pixels. As it is, the
    loss is the cross-entropy. A subclass can replace the loss or the weight of a pixel.
    """

    def per_image(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """See `SegmentationLoss.per_image`."""
        weights = self.pixel_weights(label, scores.dtype)
        return self.pixel_losses(scores, label, weights, how).sum((1, 2)), weights.sum((1, 2))

    def pixel_losses(self, scores: Tensor, label: Tensor, weights: Tensor, how: Upsampling) -> Tensor:
        """Compute the weighted loss of each pixel at the labels' size, float (N, H, W)."""

        def chunk_losses(logits: Tensor, rows: slice) -> Tensor:
            return self.weighted_loss(logits.log_softmax(1), label[:, rows], weights[:, rows])

        return torch.cat(over_chunks(chunk_losses, scores, (label.shape[1], label.shape[2]), how), 1)

    def pixel_weights(self, label: Tensor, dtype: torch.dtype) -> Tensor:
        """Compute the weight of each pixel, (N, H, W), 0 at ignored ones."""
        return self.label_weights(label, dtype)

    def weighted_loss(self, log_probabilities: Tensor, label: Tensor, weights: Tensor) -> Tensor:
        """Compute the loss of each pixel of a chunk, multiplied by its weight.

        Args:
            log_probabilities: Float (N, C, rows, W).
            label: int64 (N, rows, W).
            weights: Float (N, rows, W), 0 at ignored pixels.

        Returns:
            Float (N, rows, W), 0 at ignored pixels.
        """
        return -self.log_probability(log_probabilities, label) * weights

    def log_probability(self, log_probabilities: Tensor, label: Tensor) -> Tensor:
        """Select the log probability of each pixel's label, (N, rows, W); of class 0 at ignored pixels."""
        return log_probabilities.gather(1, label.where(label != self.ignore_index, 0)[:, None])[:, 0]


class CrossEntropyLoss(PixelLoss):
    """Cross-entropy over labeled pixels, optionally with label smoothing; the weight is the sum of their class weights.

    For C channels of scores (a void output included), label y, class weights w and smoothing e, the loss of a pixel is
    -(1 - e) w_y log p_y - e / C sum_c w_c log p_c, as in `torch.nn.functional.cross_entropy`.

    Source of the smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, Section 7.

    Args:
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each.
        label_smoothing: e, at least 0 and less than 1.
    """

    def __init__(self, ignore_index: int, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0):
        super().__init__(ignore_index, class_weights)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; it must be at least 0 and less than 1")
        self.label_smoothing = label_smoothing

    def batch_sums(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """See `SegmentationLoss.batch_sums`."""
        if self.label_smoothing:
            return super().batch_sums(scores, label, how)
        # The same sums in fewer operations.
        weights = None if self.class_weights is None else self.class_weights.to(scores.dtype)
        return upsampled_cross_entropy(scores, label, how, weights, self.ignore_index)

    def weighted_loss(self, log_probabilities: Tensor, label: Tensor, weights: Tensor) -> Tensor:
        """See `PixelLoss.weighted_loss`."""
        loss = super().weighted_loss(log_probabilities, label, weights)
        if not self.label_smoothing:
            return loss
        channels = log_probabilities.shape[1]
        if self.class_weights is not None:
            class_weights = self.class_weights[:channels].to(log_probabilities.dtype)
            log_probabilities = log_probabilities * class_weights[:, None, None]
        uniform = -log_probabilities.mean(1) * (label != self.ignore_index)
        return (1 - self.label_smoothing) * loss + self.label_smoothing * uniform


class Focal(PixelLoss):
    """Focal loss over labeled pixels, -(1 - p)^gamma log p for the probability p of the label.

    The weight is the sum of the pixels' class weights. The source divides by the number of anchors with an object, which has no
    equivalent in segmentation. The mean of this loss is therefore smaller than that of the cross-entropy.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, Eq. 4; with class weights Eq. 5; here with softmax.

    Args:
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each.
        gamma: Exponent, at least 0; the source's best is 2. 0 is the cross-entropy.
    """

    def __init__(self, ignore_index: int, class_weights: Sequence[float] | None = None, gamma: float = 2.0):
        super().__init__(ignore_index, class_weights)
        if not 0 <= gamma < math.inf:
            raise ValueError(f"gamma is {gamma}; it must be finite and at least 0")
        self.gamma = gamma

    def weighted_loss(self, log_probabilities: Tensor, label: Tensor, weights: Tensor) -> Tensor:
        """See `PixelLoss.weighted_loss`."""
        own = self.log_probability(log_probabilities, label)
        # At p = 1, a power below 1 would have an infinite gradient.
        missing = (-torch.expm1(own)).clamp(min=torch.finfo(own.dtype).tiny)
        return missing**self.gamma * -own * weights


class OhemCrossEntropy(PixelLoss):
    """Cross-entropy over the hard pixels of each image; the weight is the sum of their class weights.

    Hard are the pixels whose label has a probability below `threshold`, and the share `min_kept` of the image's labeled pixels
    (rounded up) with the lowest probabilities of their labels, with all pixels that equal the last of these. For the share
    alone, set `threshold` to 0. The choice has no gradient and does not depend on class weights.

    Source: Wu et al., "Bridging Category-level and Instance-level Semantic Image Segmentation", arXiv:1605.06885, 2016 (online
    bootstrapping), after Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", CVPR
    2016. Other code chooses among all pixels of a process's batch; here the choice does not depend on other images.

    Args:
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each.
        threshold: Probability of the label, in 0..1.
        min_kept: Share of the labeled pixels, in 0..1.
    """

    def __init__(
        self,
        ignore_index: int,
        class_weights: Sequence[float] | None = None,
        threshold: float = 0.7,
        min_kept: float = 1 / 16,
    ):
        super().__init__(ignore_index, class_weights)
        for name, value in (("threshold", threshold), ("min_kept", min_kept)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; it must be in 0..1")
        if threshold == min_kept == 0:
            raise ValueError("threshold and min_kept are both 0, which keeps no pixel; increase one of them")
        self.threshold = threshold
        self.min_kept = min_kept

    def per_image(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """See `SegmentationLoss.per_image`."""
        valid = label != self.ignore_index
        losses = self.pixel_losses(scores, label, valid.to(scores.dtype), how)
        weights = self.label_weights(label, scores.dtype) * self._hard(losses.detach(), valid)
        return (losses * weights).sum((1, 2)), weights.sum((1, 2))

    def _hard(self, losses: Tensor, valid: Tensor) -> Tensor:
        """Choose hard pixels by their cross-entropy (N, H, W)."""
        hard = losses > (-math.log(self.threshold) if self.threshold else math.inf)
        kept = (valid.sum((1, 2)) * self.min_kept).ceil().long()
        ordered = losses.where(valid, -1).flatten(1).sort(descending=True).values
        least = ordered.gather(1, (kept - 1).clamp(min=0)[:, None])[:, 0].where(kept > 0, math.inf)
        return (hard | (losses >= least[:, None, None])) & valid
