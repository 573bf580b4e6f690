"""Augmentation of the paper: random scale, crop and flip, sampled from (seed, epoch, index) and nothing else."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from refinenet_pl.datamodule.samplers import SampleKey
from refinenet_pl.datasets.short_edge import short_edge_factor
from refinenet_pl.seeds import derive_seed

GRAY = 127  # Padding beyond the image's edge: near zero once normalized.


class RandomScale(v2.Transform):
    """Resize image and mask by a factor sampled evenly from a list, after the one that brings the short edge within limits."""

    def __init__(self, scales: Sequence[float], short_edge: tuple[int, int] | None = None):
        super().__init__()
        self.scales = list(scales)
        self.short_edge = short_edge

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = F.get_size(next(x for x in flat_inputs if isinstance(x, tv_tensors.Image)))
        scale = self.scales[int(torch.randint(len(self.scales), ()))]
        if self.short_edge is not None:
            scale *= short_edge_factor((height, width), self.short_edge)
        return {"size": [max(1, round(height * scale)), max(1, round(width * scale))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            # torchvision's own kernel for masks rounds down and so shifts them by half a pixel against the image.
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
    """The paper's augmentation (implementation details), and optional color jitter.

    Args:
        crop_size: (height, width) of training crops. Smaller images are padded with gray, their masks with
            `ignore_index`.
        scales: Factors to draw from; 0.7 to 1.3 in the paper.
        flip: Whether half of the images are horizontally flipped.
        color_jitter: Strength of changes in brightness, contrast and saturation; 0 in the paper.
        ignore_index: The void id.
        short_edge: Min and max short edge, in pixels, before all that; None for no limits.
    """
    fill = {tv_tensors.Image: GRAY, tv_tensors.Mask: ignore_index}
    steps: list[v2.Transform] = [
        RandomScale(scales, short_edge),
        v2.RandomCrop(crop_size, pad_if_needed=True, fill=fill),
    ]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color_jitter:
        steps.append(v2.ColorJitter(brightness=color_jitter, contrast=color_jitter, saturation=color_jitter))
    return v2.Compose(steps)


class AugmentedDataset(Dataset):
    """A dataset whose sample (epoch, index) is always the same image, whatever process or worker makes it.

    The sample has one key more, `seed`: the integer that its augmentation was sampled from.

    Args:
        dataset: Samples by index.
        transform: Draws from torch's global generator, as torchvision's transforms do.
        seed: Of the augmentation.
    """

    def __init__(self, dataset: Dataset, transform: v2.Transform, seed: int):
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> dict:
        epoch, index = key
        sample = self.dataset[index]
        image, mask = sample["image"], sample["mask"]
        if not (isinstance(image, tv_tensors.Image) and isinstance(mask, tv_tensors.Mask)):
            # torchvision would turn and crop the one and leave the other as it is.
            raise TypeError(
                f"{type(self.dataset).__name__} gives an image of {type(image).__name__} and a mask of {type(mask).__name__}; "
                "they must be tv_tensors.Image and tv_tensors.Mask, or they are not augmented alike. Override `read` instead"
            )
        seed = derive_seed(self.seed, epoch, index)
        with torch.random.fork_rng(devices=[]):
            # The one that the transforms draw from. torch.manual_seed would also note, with a traceback, to seed the GPUs.
            torch.default_generator.manual_seed(seed)
            return self.transform(sample) | {"seed": seed}
