"""Adapter of other losses of segmentation."""

import torch
from torch import Tensor, nn

from refinenet_pl.models.ops.resize import Upsampling, resize
from refinenet_pl.tasks.losses.segmentation_loss import SegmentationLoss


class PlainLoss(SegmentationLoss):
    """Loss of another library, such as those of segmentation_models_pytorch or torch.nn.

    The weight is the number of images with a labeled pixel, and the total is this number times the module's loss of these
    images. If that loss is not a mean over images, for example a mean over the pixels of a batch, training depends on the
    distribution of images over batches and processes, unlike with the losses of this package. Memory is not bounded: the logits
    are upsampled to the labels' size as a whole.

    Args:
        module: Maps logits, float (N, C, H, W), and labels, int64 (N, H, W), to the loss, a float scalar. It must ignore
            `ignore_index` by itself, and applies its own class weights.
        ignore_index: Label of the pixels to ignore.
    """

    counts_images = True

    def __init__(self, module: nn.Module, ignore_index: int):
        super().__init__(ignore_index)
        self.module = module

    def per_image(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """Compute the module's loss as the loss of each image with a labeled pixel; see `SegmentationLoss.per_image`.

        Raises:
            ValueError: The module's loss is not a scalar.
        """
        labeled = (label != self.ignore_index).flatten(1).any(1)
        weights = labeled.to(scores.dtype)
        if not labeled.any():  # many losses are NaN then
            return scores.flatten(1)[:, :0].sum(1), weights
        loss = self.module(resize(scores[labeled], label.shape[-2:], how), label[labeled])
        if not isinstance(loss, Tensor) or loss.ndim:
            found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"{type(self.module).__name__} returns {found}; the loss must be a scalar, such as a mean")
        return loss.to(torch.promote_types(loss.dtype, scores.dtype)) * weights, weights
