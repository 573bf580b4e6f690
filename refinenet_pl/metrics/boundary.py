"""Counts for the boundary IoU: the IoU of what lies along the classes' borders, where finer features should show."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

# Of a picture's diagonal: 3 pixels at 480x360, 11 at 2048x1024.
WIDTH = 0.005


class BoundaryCounts(Metric):
    """Counts the pixels along borders over a data set as integers: exact, in any order, on any number of processes.

    A class's pixel lies along its border where a pixel that is not of the class, or not in the picture, is at most the width
    away in each direction. Predictions at void pixels do not count, so that a border with void is the same in both masks.
    Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021. The width is a
    share of the picture's diagonal as there, at least one pixel.

    Args:
        classes: Number of classes.
        ignore_index: Label of void pixels.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, classes: int, ignore_index: int):
        super().__init__()
        self.classes = classes
        self.ignore_index = ignore_index
        self.add_state("counts", torch.zeros(3, classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch of whole pictures.

        Args:
            prediction: Integer class ids (N, H, W), `classes` for void.
            label: Integer class ids and `ignore_index`, the same shape.
        """
        void = label == self.ignore_index
        label, prediction = (mask.masked_fill(void, self.classes) for mask in (label, prediction))
        width = border_width(*label.shape[-2:])
        along_label, along_prediction = along_borders(label, width), along_borders(prediction, width)
        both = along_label & along_prediction & (label == prediction)
        chosen = (label[both], label[along_label], prediction[along_prediction])
        self.counts += torch.stack([torch.bincount(ids, minlength=self.classes + 1)[: self.classes] for ids in chosen])

    def compute(self) -> Tensor:
        """The counts of all processes: int64 (3, classes), pixels along both borders, along the label's, the prediction's."""
        return self.counts


def border_width(height: int, width: int) -> int:
    """How far from a border pixels still lie along it, in pixels."""
    return max(1, round(WIDTH * (height**2 + width**2) ** 0.5))


def along_borders(mask: Tensor, width: int) -> Tensor:
    """Which pixels have one of another class, or the picture's edge, at most `width` pixels away in each direction.

    Args:
        mask: Integer ids (N, H, W), not negative.
        width: In pixels.

    Returns:
        Boolean (N, H, W).
    """
    ids = mask[:, None].float()  # exact up to 2**24
    # One map for all classes: a window holds another class where its greatest or its least id is not the pixel's.
    greatest = _pool(F.pad(ids, [width] * 4, value=-1.0), width)
    least = -_pool(F.pad(-ids, [width] * 4, value=1.0), width)
    return ((greatest != ids) | (least != ids))[:, 0]


def _pool(x: Tensor, width: int) -> Tensor:
    side = 2 * width + 1
    return F.max_pool2d(F.max_pool2d(x, (1, side), 1), (side, 1), 1)
