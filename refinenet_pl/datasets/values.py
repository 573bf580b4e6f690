"""Continuous values of a dataset: names, unit and meaning of the channels of its targets."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

Kind = Literal["depth", "normals", "heatmap", "labels", "other"]
"""Meaning of the values, which determines how augmentation changes them.

- `depth`: distance from the camera, divided by the factor by which an image is scaled.
- `normals`: unit vector (x to the right, y, z), whose x changes its sign when an image is horizontally flipped.
- `heatmap`: one channel per keypoint, in 0..1; left and right keypoints swap when an image is horizontally flipped.
- `labels`: one channel per label, 0 or 1; a pixel can have several labels or none. Left and right labels can swap too.
- `other`: values that augmentation does not change.
"""


@dataclass(frozen=True)
class Values:
    """The values that a dataset has for each pixel.

    Attributes:
        names: Name of each channel.
        kind: Their meaning.
        unit: Unit, such as `m`; empty for none.
        range: Min and max of valid values; None for no limit. Used to check files and to scale colors.
        swapped: Pairs of channels that swap when an image is horizontally flipped.

    Raises:
        ValueError: There are no names, or as many as `kind` forbids; the range is empty; a pair is not of two channels; or
            labels have a unit, another range than 0..1, or a name that cannot be a folder.
    """

    names: tuple[str, ...]
    kind: Kind = "other"
    unit: str = ""
    range: tuple[float, float] | None = None
    swapped: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names are {list(self.names)}; give one or more different names")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}; it must be one of {', '.join(get_args(Kind))}")
        channels = {"depth": 1, "normals": 3}.get(self.kind, len(self.names))
        if len(self.names) != channels:
            raise ValueError(f"kind {self.kind} has {channels} channels, but there are {len(self.names)} names")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range is {list(self.range)}; give min and max, in this order")
        for pair in self.swapped:
            if pair[0] == pair[1] or not all(0 <= channel < len(self.names) for channel in pair):
                raise ValueError(f"swapped has {list(pair)}; give two channels in 0..{len(self.names) - 1}")
        if self.kind == "labels":
            self._check_labels()

    def _check_labels(self) -> None:
        if self.unit or self.range != (0, 1):
            raise ValueError(f"labels have no unit and the range 0..1, not {self.unit!r} and {self.range}")
        for name in self.names:  # of a folder of masks
            if name.startswith(".") or {"/", "\\"} & {*name} or not name.strip():
                raise ValueError(f"names has {name!r}; a label is also a folder, so omit / and \\, and a dot at the start")
        if len({name.casefold() for name in self.names}) < len(self.names):
            raise ValueError(f"names are {list(self.names)}; a label is also a folder, so names must differ in more than case")

    def __len__(self) -> int:
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Convert to lists, strings and numbers, for YAML and JSON files."""
        return {
            "names": list(self.names),
            "kind": self.kind,
            "unit": self.unit,
            "range": None if self.range is None else list(self.range),
            "swapped": [list(pair) for pair in self.swapped],
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Values":
        """Inverse of `to_dict`."""
        limits = None if content["range"] is None else (content["range"][0], content["range"][1])
        swapped = tuple((one, other) for one, other in content["swapped"])
        return cls(tuple(content["names"]), content["kind"], content["unit"], limits, swapped)

    def flip(self, target: Tensor) -> Tensor:
        """Adapt the values of a target whose pixels have been horizontally flipped.

        Args:
            target: Float (..., channels, height, width).

        Returns:
            The values, of the same shape: x of normals negated, channels of left and right keypoints swapped.
        """
        channels = list(range(len(self)))
        for one, other in self.swapped:
            channels[one], channels[other] = other, one
        signs = [-1.0, 1.0, 1.0] if self.kind == "normals" else [1.0] * len(self)
        return target[..., channels, :, :] * torch.tensor(signs, dtype=target.dtype, device=target.device).view(-1, 1, 1)

    def outside(self, target: np.ndarray) -> np.ndarray:
        """Find values outside the range.

        Args:
            target: Float (height, width, channels); NaN is unknown, which is not outside.

        Returns:
            Boolean, of the same shape.
        """
        if self.range is None:
            return np.isinf(target)
        return np.isinf(target) | (target < self.range[0]) | (target > self.range[1])
