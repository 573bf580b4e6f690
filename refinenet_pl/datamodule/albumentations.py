"""Adapter of albumentations, if it is installed, for `data.transforms`."""

import importlib
import os
import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from refinenet_pl.errors import MissingPackageError

# Value of pixels from inside the image, which hardly anyone uses as fill_mask.
_INSIDE = 254
# Dtypes of masks that OpenCV can transform, the smallest first.
_MASK_TYPES = (np.uint8, np.int16)


class Albumentations(nn.Module):
    """Transforms of albumentations, applied in order to the image and to its mask or target.

    `pip install albumentations` installs version 2.0.8, the last one (MIT). Its successor AlbumentationsX (AGPL or a commercial
    license) has the same import name and works too. Neither is a dependency of this package: the former is no longer
    maintained, and the license of the latter would extend to programs that contain it.

    Random numbers are sampled from the global generator of torch, which is seeded for each sample. Pixels that a transform
    fills, for example from outside the image, are void or, in a target, unknown (NaN), whatever its `fill_mask` is. Values of
    targets are moved, not changed: use no transform that zooms depth or flips normals.

    Args:
        transforms: Name and arguments of each transform, such as `{HorizontalFlip: {p: 0.5}}`. A composition has its own list,
            such as `{OneOf: {transforms: [{CLAHE: {}}, {Sharpen: {}}], p: 0.5}}`.
        ignore_index: Label of void pixels; None for that of the data module's dataset, or 255 without a data module.

    Raises:
        MissingPackageError: albumentations is not installed.
        ValueError: It has no such transform, or a transform no such argument or value.
    """

    def __init__(self, transforms: list[dict[str, dict[str, Any]]], ignore_index: int | None = None):
        super().__init__()
        library = _import()
        # Constant before the transforms; a different value marks pixels that they fill.
        self.compose = library.Compose(_build(library, transforms), additional_targets={"inside": "mask"})
        self.ignore_index = ignore_index

    def forward(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Transform a sample.

        Args:
            sample: `image`: tv_tensors.Image (channels, height, width). `mask`: int64 tv_tensors.Mask (height, width); or
                `target`: float32 tv_tensors.Mask (channels, height, width). Other entries are returned unchanged.
        """
        name = "mask" if "mask" in sample else "target"
        labels = sample[name].as_subclass(Tensor)
        # One generator for all transforms: set_random_seed would give each its own with the same seed, so that those with equal
        # probabilities would always be applied together.
        seed = int(torch.randint(2**62, ()))
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        done = self.compose(
            image=np.ascontiguousarray(sample["image"].as_subclass(Tensor).permute(1, 2, 0)),
            mask=_encode(labels),
            inside=np.full(labels.shape[-2:], _INSIDE, np.uint8),
        )
        image = torch.from_numpy(np.ascontiguousarray(done["image"]))
        result = torch.from_numpy(np.ascontiguousarray(done["mask"])).to(labels.dtype)
        result = result.reshape(*result.shape[:2], -1).permute(2, 0, 1) if labels.dim() == 3 else result
        outside = torch.from_numpy(done["inside"] != _INSIDE)
        void = 255 if self.ignore_index is None else self.ignore_index
        result = result.masked_fill(outside, void if name == "mask" else torch.nan)
        image = image.reshape(*image.shape[:2], -1).permute(2, 0, 1).contiguous()
        return sample | {
            "image": tv_tensors.wrap(image, like=sample["image"]),
            name: tv_tensors.wrap(result.contiguous(), like=sample[name]),
        }


def _import() -> Any:
    # They prevent requests: to PyPI for a newer version, and to AlbumentationsX's statistics of usage.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("ALBUMENTATIONS_NO_TELEMETRY", "1")
    try:
        return importlib.import_module("albumentations")
    except ImportError:
        raise MissingPackageError(
            "data.transforms: albumentations is not installed; pip install albumentations, or remove the transform"
        ) from None


def _build(library: Any, transforms: list[dict[str, dict[str, Any]]]) -> list[Any]:
    built = []
    for entry in transforms:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise ValueError(
                f"data.transforms: {entry} is not the name of one transform with its arguments: {{NAME: {{ARG: VALUE}}}}"
            )
        ((name, given),) = entry.items()
        arguments = dict(given or {})
        known = getattr(library, str(name), None)
        if not (isinstance(known, type) and issubclass(known, (library.BasicTransform, library.BaseCompose))):
            raise ValueError(f"data.transforms: albumentations {library.__version__} has no transform {name}")
        if "transforms" in arguments:
            arguments["transforms"] = _build(library, arguments["transforms"])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # of an argument that does not exist, which would be ignored
                built.append(known(**arguments))
        except (TypeError, UserWarning, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"data.transforms: {name} of albumentations {library.__version__}: {reason}") from None
    return built


def _encode(labels: Tensor) -> np.ndarray:
    """Convert labels to a type that OpenCV can transform exactly, (height, width), or targets to (height, width, channels)."""
    if labels.dim() == 3:
        return np.ascontiguousarray(labels.permute(1, 2, 0))
    values = labels.numpy()
    smallest, largest = (values.min(), values.max()) if values.size else (0, 0)
    for dtype in _MASK_TYPES:
        if np.iinfo(dtype).min <= smallest and largest <= np.iinfo(dtype).max:
            return values.astype(dtype)
    raise ValueError(f"data.transforms: albumentations cannot transform labels from {smallest} to {largest}")
