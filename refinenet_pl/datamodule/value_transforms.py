"""Augmentation of images with continuous values, which changes the values as their meaning requires."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from refinenet_pl.datamodule.color import ColorJitter
from refinenet_pl.datamodule.transforms import GRAY, RandomScale
from refinenet_pl.datasets.values import Values


class ScaleValues(RandomScale):
    """`RandomScale` that resizes targets to the nearest pixel, so that no value mixes with an unknown or another one.

    Depth is divided by the scale: an object twice as large in the image is half as far away (Eigen et al., "Depth Map
    Prediction from a Single Image using a Multi-Scale Deep Network", NeurIPS 2014, data augmentation).

    Args:
        scales, short_edge: See `RandomScale`.
        values: Meaning of the targets.
    """

    def __init__(self, scales: Sequence[float], short_edge: tuple[int, int] | None, values: Values):
        super().__init__(scales, short_edge)
        self.values = values

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize an image bilinearly, a target to the nearest pixel; other inputs are returned unchanged."""
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        target = F.resize_image(inpt.as_subclass(Tensor), params["size"], interpolation=InterpolationMode.NEAREST_EXACT)
        return tv_tensors.wrap(target / params["scale"] if self.values.kind == "depth" else target, like=inpt)


class FlipValues(v2.RandomHorizontalFlip):
    """`RandomHorizontalFlip` that negates the x of normals, and swaps the channels of left and right keypoints.

    Args:
        values: Meaning of the targets.
    """

    def __init__(self, values: Values):
        super().__init__()
        self.values = values

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Flip an image or a target; other inputs are returned unchanged."""
        flipped = super().transform(inpt, params)
        if not isinstance(inpt, tv_tensors.Mask):
            return flipped
        return tv_tensors.wrap(self.values.flip(flipped.as_subclass(Tensor)), like=inpt)


def value_transform(
    crop_size: tuple[int, int],
    scales: Sequence[float],
    flip: bool,
    color_jitter: float,
    values: Values,
    short_edge: tuple[int, int] | None = None,
) -> v2.Transform:
    """Build the augmentation of `training_transform` for continuous values.

    Args:
        crop_size: (height, width) of training crops. Smaller images are padded with gray; the padding is unknown.
        scales: See `training_transform`.
        flip: Flip half of the images horizontally.
        color_jitter: See `training_transform`.
        values: Meaning of the targets.
        short_edge: See `RandomScale`.
    """
    fill = {tv_tensors.Image: GRAY, tv_tensors.Mask: float("nan")}
    steps: list[v2.Transform] = [
        ScaleValues(scales, short_edge, values),
        v2.RandomCrop(crop_size, pad_if_needed=True, fill=fill),
    ]
    if flip:
        steps.append(FlipValues(values))
    if color_jitter:
        steps.append(ColorJitter(color_jitter))
    return v2.Compose(steps)
