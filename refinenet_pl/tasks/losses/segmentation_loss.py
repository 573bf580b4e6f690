"""Interface of the training losses of segmentation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from refinenet_pl.models.ops.resize import Upsampling


class SegmentationLoss(nn.Module):
    """Base class of the training losses of segmentation, as sums over a batch.

    A loss is a sum over images, and an image's share depends on no other image. `total / weight` is therefore a mean over any
    number of images, however they are distributed over batches and processes, see `GlobalMeanLoss`. A subclass implements
    `per_image`.

    Args:
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each.

    Attributes:
        counts_images: An image with a labeled pixel has weight 1; otherwise, weights are sums over pixels.
    """

    counts_images: bool = False
    class_weights: Tensor | None

    def __init__(self, ignore_index: int, class_weights: Sequence[float] | None = None):
        super().__init__()
        if class_weights is not None and not all(0 <= weight < float("inf") for weight in class_weights):
            raise ValueError(f"class_weights are {list(class_weights)}; they must be finite and not negative")
        self.ignore_index = ignore_index
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """Compute the loss in float32, or in the scores' dtype if that is wider.

        Args:
            scores: Logits of a score map, float (N, C, h, w), with a void output, if there is one, after the classes.
            label: int64 (N, H, W).
            how: Upsampling method from (h, w) to (H, W).

        Returns:
            The summed loss and the sum of its weights, two float scalars; both are 0 without a labeled pixel.

        Raises:
            ValueError: The shapes do not match, or there are fewer class weights than channels.
        """
        shapes = tuple(scores.shape), tuple(label.shape)
        if (len(shapes[0]), len(shapes[1])) != (4, 3) or shapes[0][0] != shapes[1][0]:
            raise ValueError("scores {} and labels {} must have the shapes (N, C, h, w) and (N, H, W)".format(*shapes))
        if self.class_weights is not None and len(self.class_weights) < shapes[0][1]:
            raise ValueError(f"{len(self.class_weights)} class weights for {shapes[0][1]} channels; give one for each")
        return self.batch_sums(scores.to(torch.promote_types(scores.dtype, torch.float32)), label, how)

    def batch_sums(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """Compute the result of `forward` from checked arguments, with `scores` in at least float32."""
        totals, weights = self.per_image(scores, label, how)
        return totals.sum(), weights.sum()

    def per_image(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """Compute the loss of each image; arguments as in `batch_sums`.

        Returns:
            The summed loss of each image and its weight, both (N,) in the scores' dtype.
        """
        raise NotImplementedError

    def label_weights(self, label: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the class weight of each pixel, 0 at ignored ones, (N, H, W)."""
        # No boolean indexing: it makes a GPU wait until the number of pixels is known.
        valid = label != self.ignore_index
        if self.class_weights is None:
            return valid.to(dtype)
        return self.class_weights.to(dtype)[label.where(valid, 0)] * valid


class RegionLoss(SegmentationLoss):
    """Base class of losses that compare the regions of each class, per image.

    The loss of an image is the mean over the classes that occur in its labels, weighted by `class_weights`. A class that does
    not occur has no overlap to measure; probability predicted for it is missing at the classes that do. The weight of an image
    with a labeled pixel is 1 (0 if the weights of its classes are all 0). A subclass implements `per_class`.
    """

    counts_images = True

    def per_image(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """See `SegmentationLoss.per_image`."""
        losses, pixels = self.per_class(scores, label.masked_fill(label == self.ignore_index, -1), how)
        weights = (pixels > 0).to(losses.dtype)
        if self.class_weights is not None:
            weights = weights * self.class_weights[: weights.shape[1]].to(weights.dtype)
        divisor = weights.sum(1)
        counted = divisor > 0
        return (losses * weights).sum(1) / divisor.where(counted, 1), counted.to(losses.dtype)

    def per_class(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """Compute the loss of each class of each image.

        Args:
            scores: Float (N, C, h, w).
            label: int64 (N, H, W), -1 at ignored pixels.
            how: Upsampling method.

        Returns:
            The losses, float (N, C), finite also for classes that do not occur, and the number of labeled pixels, (N, C).
        """
        raise NotImplementedError
