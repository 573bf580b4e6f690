"""What the pixels of a data set can be called."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Classes:
    """The label alphabet of a data set.

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

    def to_dict(self) -> dict:
        """Lists and strings alone, for files."""
        return {
            "names": list(self.names),
            "palette": [list(colour) for colour in self.palette],
            "ignore_index": self.ignore_index,
        }

    @classmethod
    def from_dict(cls, content: dict) -> "Classes":
        """What `to_dict` gave."""
        palette = tuple(tuple(colour) for colour in content["palette"])
        return cls(tuple(content["names"]), palette, content["ignore_index"])

    def colourise(self, mask: np.ndarray) -> np.ndarray:
        """Paint a mask of label ids.

        Args:
            mask: Integer array (height, width); ids that are no class's, void among them, come out black.

        Returns:
            uint8 array (height, width, 3), RGB.
        """
        # The last row is black and stands for everything that is not a class.
        table = np.zeros((len(self) + 1, 3), np.uint8)
        table[:-1] = self.palette
        mask = np.asarray(mask)
        return table[np.where((mask >= 0) & (mask < len(self)), mask, len(self))]
