"""Classes of a dataset: their names and colors, and the id of void pixels."""

from dataclasses import dataclass

import numpy as np


def _voc_color(label: int) -> tuple[int, int, int]:
    """Every third bit of the label belongs to one channel, the lowest bits to the highest places."""
    return tuple(sum(((label >> 3 * place + channel) & 1) << (7 - place) for place in range(8)) for channel in range(3))


VOC_PALETTE = tuple(_voc_color(label) for label in range(256))
"""The color map of the VOC development kit: a color for each value of a byte, the void value 255 among them."""


@dataclass(frozen=True)
class Classes:
    """The label alphabet of a dataset.

    Attributes:
        names: Class names; a class's position is its label id and its channel in the logits.
        palette: One (red, green, blue) triple in 0..255 for each class.
        ignore_index: The label id of void pixels, which enter neither loss nor score. Never a class's own id.

    Raises:
        ValueError: Names and palette differ in length, or `ignore_index` is the id of a class.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int = 255

    def __post_init__(self):
        if len(self.names) != len(self.palette):
            raise ValueError(f"{len(self.names)} class names but {len(self.palette)} colours")
        if 0 <= self.ignore_index < len(self.names):
            raise ValueError(f"ignore_index {self.ignore_index} is the id of the class {self.names[self.ignore_index]!r}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def numbered(cls, number: int) -> "Classes":
        """Classes whose names nobody knows: `class 0`, `class 1`, and so on, in the colors of PASCAL VOC."""
        return cls(tuple(f"class {index}" for index in range(number)), VOC_PALETTE[:number])

    def to_dict(self) -> dict:
        """Lists and strings alone, for files."""
        palette = [list(color) for color in self.palette]
        return {"names": list(self.names), "palette": palette, "ignore_index": self.ignore_index}

    @classmethod
    def from_dict(cls, content: dict) -> "Classes":
        """The classes that `to_dict` was called on."""
        palette = tuple(tuple(color) for color in content["palette"])
        return cls(tuple(content["names"]), palette, content["ignore_index"])

    def colorize(self, mask: np.ndarray) -> np.ndarray:
        """Map label ids to colors.

        Args:
            mask: Integers (height, width); ids that are no class's, void among them, become black.

        Returns:
            uint8 (height, width, 3), RGB.
        """
        table = np.zeros((len(self) + 1, 3), np.uint8)  # the last row is for everything that is not a class
        table[:-1] = self.palette
        colors = np.empty((*mask.shape, 3), np.uint8)
        for row, ids in zip(colors, mask, strict=True):  # row by row, since indices take 8 bytes a pixel
            row[:] = table[np.where((ids >= 0) & (ids < len(self)), ids, len(self))]
        return colors
