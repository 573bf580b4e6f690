"""Augmentation of the paper: random scale, crop and flip, sampled from (seed, epoch, index) only."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from refinenet_pl.datamodule.class_crop import ClassCrop
from refinenet_pl.datamodule.color import ColorJitter
from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.short_edge import short_edge_factor
from refinenet_pl.errors import DataError
from refinenet_pl.seeds import derive_seed

GRAY = 127  # Padding outside the image: near zero after normalization.


class SampleKey(NamedTuple):
    """One visit to a training sample; its augmentation is sampled from this key.

    Attributes:
        epoch: Number of the epoch, from 0.
        sample: Index of the sample in the dataset.
        visit: Number of earlier visits to the sample in this epoch.
        crop_class: Class on one of whose pixels the crop is centered, or `ANY_CLASS`, see `ClassCrop`; None for a random crop.
    """

    epoch: int
    sample: int
    visit: int = 0
    crop_class: int | None = None


class RandomScale(v2.Transform):
    """Resize image and mask by a factor sampled uniformly from a list.

    Args:
        scales: The factors.
        short_edge: Min and max short edge, in pixels, that images are resized to before; None for no limits.
    """

    def __init__(self, scales: Sequence[float], short_edge: tuple[int, int] | None = None):
        super().__init__()
        self.scales = list(scales)
        self.short_edge = short_edge

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Sample the size."""
        height, width = F.get_size(next(x for x in flat_inputs if isinstance(x, tv_tensors.Image)))
        scale = self.scales[int(torch.randint(len(self.scales), ()))]
        if self.short_edge is not None:
            scale *= short_edge_factor((height, width), self.short_edge)
        return {"scale": scale, "size": [max(1, round(height * scale)), max(1, round(width * scale))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize an image bilinearly, a mask to the nearest pixel; other inputs are returned unchanged."""
        if isinstance(inpt, tv_tensors.Mask):
            # torchvision's kernel for masks rounds down, which shifts them by half a pixel relative to the image.
            resized = F.resize_image(inpt[None], params["size"], interpolation=InterpolationMode.NEAREST_EXACT)
            return tv_tensors.wrap(resized[0], like=inpt)
        return F.resize(inpt, params["size"], antialias=True) if isinstance(inpt, tv_tensors.Image) else inpt


def training_transform(
    crop_size: tuple[int, int],
    scales: Sequence[float],
    flip: bool,
    color_jitter: float,
    ignore_index: int,
    short_edge: tuple[int, int] | None = None,
) -> v2.Transform:
    """Build the paper's augmentation (section "Implementation details") with optional color jitter.

    Args:
        crop_size: (height, width) of training crops. Smaller images are padded with gray, their masks with
            `ignore_index`.
        scales: Factors to sample from; 0.7 to 1.3 in the paper.
        flip: Flip half of the images horizontally.
        color_jitter: Strength of changes in brightness, contrast and saturation; 0 in the paper.
        ignore_index: Label of void pixels.
        short_edge: See `RandomScale`.
    """
    fill = {tv_tensors.Image: GRAY, tv_tensors.Mask: ignore_index}
    steps: list[v2.Transform] = [
        RandomScale(scales, short_edge),
        ClassCrop(crop_size, fill, ignore_index),
    ]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color_jitter:
        steps.append(ColorJitter(color_jitter))
    return v2.Compose(steps)


class CheckSample(v2.Transform):
    """Check the samples that further transforms return.

    Args:
        size: Expected (height, width).
        format: Format of the images; None for 8-bit RGB.
    """

    def __init__(self, size: tuple[int, int], format: ImageFormat | None = None):
        super().__init__()
        self.size = tuple(size)
        self.channels = 3 if format is None else format.channels
        # Only 8-bit files of RGB images stay uint8.
        self.types = (torch.uint8,) * (format is None or format.is_eight_bit_rgb) + (torch.float32,) * (format is not None)

    def forward(self, *inputs: Any) -> Any:
        """Return a sample unchanged.

        Raises:
            DataError: Its image has another type or number of channels than the dataset's, or its image, mask or target does
                not have the size.
        """
        sample = inputs[0]
        for name in ("image", "mask", "target"):
            found = sample.get(name)
            if found is not None and tuple(found.shape[-2:]) != self.size:
                raise DataError(
                    f"data.transforms: they return a {name} of {found.shape[-2]}x{found.shape[-1]} pixels instead of the "
                    f"crop's {self.size[0]}x{self.size[1]}; let the last one crop to this size"
                )
        image = sample["image"]
        if image.dtype not in self.types:
            raise DataError(
                f"data.transforms: they return an image of type {image.dtype} instead of {' or '.join(map(str, self.types))}; "
                "the task converts and normalizes images, so remove such a transform"
            )
        if image.shape[-3] != self.channels:
            raise DataError(
                f"data.transforms: they return an image of {image.shape[-3]} channels instead of {self.channels}; remove the "
                "transform that changes them"
            )
        return sample


class AugmentedDataset(Dataset):
    """A dataset whose augmented samples depend on the seed and their `SampleKey` only, in any process or worker.

    Samples have an additional key `seed`, the integer that their augmentation was sampled from.

    Args:
        dataset: The dataset.
        transform: Transform that samples from the global generator of torch, as torchvision's transforms do, of `random` or of
            NumPy.
        seed: Seed of the augmentation.
    """

    def __init__(self, dataset: DenseDataset, transform: v2.Transform, seed: int):
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        epoch, index, visit, crop_class = key
        sample = self.dataset[index]
        image, mask = sample["image"], sample["mask" if "mask" in sample else "target"]
        if not (isinstance(image, tv_tensors.Image) and isinstance(mask, tv_tensors.Mask)):
            # torchvision would transform one and leave the other unchanged.
            raise TypeError(
                f"{type(self.dataset).__name__} returns an image of type {type(image).__name__} and a mask or target of type "
                f"{type(mask).__name__}; they must be tv_tensors.Image and tv_tensors.Mask to be augmented together; override "
                "`read`, not `__getitem__`"
            )
        if crop_class is not None:
            if "mask" not in sample:
                raise DataError("data.sampler: it centers crops on classes, and this dataset has none; use uniform")
            sample = sample | {"crop_class": crop_class}
        seed = derive_seed(self.seed, epoch, index, *([visit] if visit else []))
        with _seeded(seed):
            return self.transform(sample) | {"seed": seed}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generators of torch, `random` and NumPy within the block, and restore them."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would also queue the seeding of GPUs, with a traceback.
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
