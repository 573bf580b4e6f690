"""A validation image of a run, as callbacks write it and loggers send it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """An image with two masks, all of one size.

    Attributes:
        name: Its name in the dataset.
        picture: uint8 (height, width, 3).
        label: uint8 class ids and `ignore_index` (height, width).
        prediction: The same, never void.
    """

    name: str
    picture: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
