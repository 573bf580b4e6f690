"""Validation image of a run with its masks, written by callbacks and sent by loggers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """An image with two masks of its size.

    Attributes:
        name: Name of the sample in its dataset.
        image: uint8 (height, width, 3), RGB.
        label: uint8 (height, width) of class ids and `ignore_index`.
        prediction: uint8 (height, width) of class ids.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
