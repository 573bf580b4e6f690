"""Classes of a dataset: their names and colors, and the id of void pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np


def _voc_color(label: int) -> tuple[int, int, int]:
    """Color of a label: its bits 0, 3, 6 are the highest bits of red, 1, 4, 7 those of green, 2, 5 those of blue."""
    red, green, blue = (sum(((label >> 3 * place + channel) & 1) << (7 - place) for place in range(8)) for channel in range(3))
    return red, green, blue


VOC_PALETTE = tuple(_voc_color(label) for label in range(256))
"""Color map of the VOC development kit: one color for each value of a byte, including the void value 255."""


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset.

    Attributes:
        names: Class names; the position of a class is its label id and its channel in the logits.
        palette: One (red, green, blue) triple in 0..255 per class.
        ignore_index: Label id of void pixels, which are excluded from loss and metrics; not the id of a class.

    Raises:
        ValueError: Names and palette differ in length, or `ignore_index` is the id of a class.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise ValueError(f"{len(self.names)} class names but {len(self.palette)} colors")
        if 0 <= self.ignore_index < len(self.names):
            raise ValueError(f"ignore_index {self.ignore_index} is the id of the class {self.names[self.ignore_index]!r}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def numbered(cls, number: int, ignore_index: int = 255) -> "Classes":
        """Classes with placeholder names, `class 0`, `class 1`, and so on, and the colors of PASCAL VOC."""
        return cls(tuple(f"class {index}" for index in range(number)), VOC_PALETTE[:number], ignore_index)

    def to_dict(self) -> dict[str, Any]:
        """Convert to lists, strings and integers, for YAML and JSON files."""
        palette = [list(color) for color in self.palette]
        return {"names": list(self.names), "palette": palette, "ignore_index": self.ignore_index}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Classes":
        """Inverse of `to_dict`."""
        palette = tuple(tuple(color) for color in content["palette"])
        return cls(tuple(content["names"]), palette, content["ignore_index"])

    def colorize(self, mask: np.ndarray) -> np.ndarray:
        """Map label ids to colors.

        Args:
            mask: Integers (height, width); ids outside the classes, including void, become black.

        Returns:
            uint8 (height, width, 3), RGB.
        """
        table = np.zeros((len(self) + 1, 3), np.uint8)  # the last row is for ids outside the classes
        table[:-1] = self.palette
        colors = np.empty((*mask.shape, 3), np.uint8)
        for row, ids in zip(colors, mask, strict=True):  # row by row, because indices need 8 bytes per pixel
            row[:] = table[np.where((ids >= 0) & (ids < len(self)), ids, len(self))]
        return colors
