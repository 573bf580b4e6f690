"""From the values in a mask file to class ids."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from refinenet_pl.errors import DataError

VOID = 255
"""The void id of every dataset whose own files do not prescribe another."""


class LabelValues:
    """Class of each value in a dataset's mask files.

    Args:
        classes: Class id of each value, in 0..254.
        void: Values of void pixels.
        void_id: Id of void pixels.
    """

    def __init__(self, classes: Mapping[int, int], void: tuple[int, ...] = (VOID,), void_id: int = VOID):
        self.known = sorted({*classes, *void})
        self._table = np.full(max(self.known) + 1, -1, np.int16)
        self._table[list(void)] = void_id
        # Last, so that a value which the classes file gives to a class is that class and not void.
        self._table[list(classes)] = list(classes.values())

    @classmethod
    def plain(cls, classes: int, first: int = 0, void: tuple[int, ...] = (VOID,), void_id: int = VOID) -> "LabelValues":
        """`classes` consecutive values from `first` up."""
        return cls({first + index: index for index in range(classes)}, void, void_id)

    def encode(self, values: np.ndarray, place: Path | str) -> np.ndarray:
        """Class ids of a mask's values.

        Args:
            values: Integer (height, width).
            place: The file, or the part of a file, that is named in errors.

        Returns:
            uint8 (height, width).

        Raises:
            DataError: A value has no meaning.
        """
        # Values beyond the table would be an index error, negative ones another class, and both a device-side assert in a loss.
        inside = (values >= 0) & (values < len(self._table))
        ids = self._table[np.where(inside, values, 0)]
        wrong = ~inside | (ids < 0)
        if wrong.any():
            found = np.unique(values[wrong]).tolist()
            raise DataError(
                f"{place}: {_words(found)} in {int(wrong.sum())} pixels, but only {_words(self.known)} have a meaning here; is "
                "this the right data set, or was the mask resized with interpolation or saved in another encoding?"
            )
        return ids.astype(np.uint8)


def _words(values: list[int]) -> str:
    """`values 0, 2..5, 255`; long lists are cut."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    words = [f"{first}" if first == last else f"{first}..{last}" for first, last in runs]
    return "values " + ", ".join(words[:12]) + (f" and {len(words) - 12} more" if len(words) > 12 else "")
