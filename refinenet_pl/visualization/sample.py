"""Image of a dataset with its label and a prediction, as files and loggers show it."""

from dataclasses import dataclass

import numpy as np

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.metrics.score import Score


@dataclass(frozen=True)
class MaskSample:
    """An image with two masks of its size.

    Attributes:
        name: Name of the sample in its dataset.
        image: uint8 (height, width, 3), RGB.
        label: uint8 (height, width) of class ids and `ignore_index`.
        prediction: uint8 (height, width) of class ids.
        classes: The dataset's classes.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    classes: Classes


@dataclass(frozen=True)
class ValueSample:
    """An image with colored values, each above its color bar.

    Attributes:
        name: Name of the sample in its dataset.
        image: uint8 (height, width, 3), RGB.
        label: Values of the dataset, uint8 (height + height of the bar, width, 3).
        prediction: Predicted values with the same colors, of the same shape.
        error: Colored errors, uint8 (height + height of the bar, width, 3).
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    error: np.ndarray


Sample = MaskSample | ValueSample


@dataclass(frozen=True)
class RankedSample:
    """A sample of a split with its rank by the score of each image.

    Attributes:
        sample: The image with its label and prediction.
        score: The score that ranks the images.
        value: Stored value of the score for this image.
        rank: `worst` or `best`, with a number from 1, such as `worst 1`.
    """

    sample: Sample
    score: Score
    value: float
    rank: str
