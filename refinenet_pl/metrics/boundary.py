"""Counts for the boundary IoU: the IoU of the pixels along the classes' borders, where finer features should help."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

# Share of an image's diagonal: 3 pixels at 480x360, 11 at 2048x1024.
WIDTH = 0.005


class BoundaryCounts(Metric):
    """Integer counts of the pixels along borders: exact, independent of the order and the number of processes.

    A pixel is along the border of its class if a pixel of another class, or outside the image, is at most the border width away
    in each direction. Predictions at ignored pixels do not count, so a border with ignored pixels is the same in both masks.
    Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021. As there, the width
    is a share of the image's diagonal, at least one pixel.

    Args:
        classes: Number of classes.
        ignore_index: Label of the pixels that do not count.
    """

    full_state_update = False
    higher_is_better = True
    counts: Tensor

    def __init__(self, classes: int, ignore_index: int):
        super().__init__()
        self.classes = classes
        self.ignore_index = ignore_index
        self.add_state("counts", torch.zeros(3, classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch of whole images.

        Args:
            prediction: Integer class ids (N, H, W); `classes` for void.
            label: Integer class ids and `ignore_index`, of the same shape.
        """
        ignored = label == self.ignore_index
        label, prediction = (mask.masked_fill(ignored, self.classes) for mask in (label, prediction))
        width = border_width(*label.shape[-2:])
        along_label, along_prediction = along_borders(label, width), along_borders(prediction, width)
        both = along_label & along_prediction & (label == prediction)
        chosen = (label[both], label[along_label], prediction[along_prediction])
        self.counts += torch.stack([torch.bincount(ids, minlength=self.classes + 1)[: self.classes] for ids in chosen])

    def compute(self) -> Tensor:
        """Sum the counts over all processes.

        Returns:
            int64 (3, classes): pixels along both borders, along the label's border, and along the prediction's border.
        """
        return self.counts


def border_width(height: int, width: int) -> int:
    """Return the max distance from a border, in pixels, at which a pixel of an image of this size is along it."""
    return max(1, round(WIDTH * (height**2 + width**2) ** 0.5))


def along_borders(mask: Tensor, width: int) -> Tensor:
    """Find the pixels with another class or the image's edge at most `width` pixels away in each direction.

    Args:
        mask: Integer ids (N, H, W), not negative.
        width: Border width in pixels.

    Returns:
        Boolean (N, H, W).
    """
    ids = mask[:, None].float()  # exact up to 2**24
    # One map for all classes: a window has another class if its max or its min is not the pixel's id.
    padded = F.pad(ids, [width] * 4, value=-1.0)  # outside the image is another class
    largest, smallest = _pool(padded, width), -_pool(-padded, width)
    return ((largest != ids) | (smallest != ids))[:, 0]


def _pool(x: Tensor, width: int) -> Tensor:
    side = 2 * width + 1
    return F.max_pool2d(F.max_pool2d(x, (1, side), 1), (side, 1), 1)
