"""Mapping from the values in mask files to class ids."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from refinenet_pl.errors import DataError

VOID = 255
"""Default void id, for datasets whose files do not prescribe another one."""


class LabelValues:
    """Mapping from the values in a dataset's mask files to class ids.

    Args:
        classes: Class id in 0..254 of each value.
        void: Values of void pixels. A value that is also in `classes` is a class.
        void_id: Id that void pixels get.
    """

    def __init__(self, classes: Mapping[int, int], void: tuple[int, ...] = (VOID,), void_id: int = VOID):
        self.known = sorted({*classes, *void})
        self._table = np.full(max(self.known) + 1, -1, np.int16)
        self._table[list(void)] = void_id
        self._table[list(classes)] = list(classes.values())  # last, because classes take precedence over void

    @classmethod
    def plain(cls, classes: int, first: int = 0, void: tuple[int, ...] = (VOID,), void_id: int = VOID) -> "LabelValues":
        """Map `classes` consecutive values, starting at `first`, to the ids 0..classes - 1."""
        return cls({first + index: index for index in range(classes)}, void, void_id)

    def encode(self, values: np.ndarray, place: Path | str) -> np.ndarray:
        """Map the values of a mask to class ids.

        Args:
            values: Integer, (height, width).
            place: File, or part of a file, to name in errors.

        Returns:
            Class ids and the void id: uint8, (height, width).

        Raises:
            DataError: A value is neither a class nor void.
        """
        # Without this check, large values raise an IndexError, and negative values wrap around to other classes.
        inside = (values >= 0) & (values < len(self._table))
        ids = self._table[np.where(inside, values, 0)]
        wrong = ~inside | (ids < 0)
        if wrong.any():
            found = np.unique(values[wrong]).tolist()
            raise DataError(
                f"{place}: {_words(found)} in {int(wrong.sum())} pixels, but only {_words(self.known)} are defined; check that "
                "this is the right dataset, and that the mask was not resized with interpolation or saved in another encoding"
            )
        return ids.astype(np.uint8)


def _words(values: list[int]) -> str:
    """Format numbers as `values 0, 2..5, 255`; long lists are truncated."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    words = [f"{first}" if first == last else f"{first}..{last}" for first, last in runs]
    return "values " + ", ".join(words[:12]) + (f" and {len(words) - 12} more" if len(words) > 12 else "")
