"""Random crop that can be centered on a pixel of a class."""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

ANY_CLASS = -1
"""Crop class of a sample that lets `ClassCrop` choose one of the classes in its mask."""


class ClassCrop(v2.RandomCrop):
    """`RandomCrop` that centers the crop on a pixel of a class, if the sample has a `crop_class`.

    As in the authors' code (`class_sample`): a random pixel of the class, and a crop that is centered there and moved to be
    inside the image. With `ANY_CLASS`, the class is sampled uniformly from those in the mask. Without a pixel of the class, for
    example because resizing removed a small object, the crop is a random one.

    Args:
        size: (height, width) of the crop. Smaller images are padded.
        fill: See `RandomCrop`.
        ignore_index: Label of void pixels.
    """

    def __init__(self, size: tuple[int, int], fill: dict[type, int], ignore_index: int):
        super().__init__(size, pad_if_needed=True, fill=fill)
        self.ignore_index = ignore_index

    def forward(self, *inputs: Any) -> Any:
        """Crop a sample, and remove its `crop_class`, an int."""
        if not isinstance(inputs[0], dict) or "crop_class" not in inputs[0]:
            return super().forward(*inputs)
        sample = dict(inputs[0])
        mask = sample["mask"]
        center = self._center(mask.as_subclass(torch.Tensor), sample.pop("crop_class"))
        if center is not None:
            extents = mask.shape[-2:]
            size = [min(length, extent) for length, extent in zip(self.size, extents, strict=True)]
            start = [
                min(max(at - length // 2, 0), extent - length) for at, length, extent in zip(center, size, extents, strict=True)
            ]
            for name, value in sample.items():
                if isinstance(value, (tv_tensors.Image, tv_tensors.Mask)):
                    sample[name] = F.crop(value, *start, *size)
        return super().forward(sample)  # pads what is smaller than the crop

    def _center(self, mask: torch.Tensor, label: int) -> tuple[int, int] | None:
        """Row and column of a random pixel of a class; None if there is none."""
        if label == ANY_CLASS:
            present = torch.bincount(mask[mask != self.ignore_index]).nonzero()
            if not len(present):
                return None
            label = int(present[torch.randint(len(present), ())])
        pixels = (mask.flatten() == label).nonzero()
        if not len(pixels):
            return None
        return divmod(int(pixels[torch.randint(len(pixels), ())]), mask.shape[1])
