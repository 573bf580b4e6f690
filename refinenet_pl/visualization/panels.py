"""Panels of a sample: image, ground truth, prediction and errors, next to each other."""

from collections.abc import Sequence

import numpy as np

from refinenet_pl.visualization.sample import MaskSample, Sample

GAP = 4
"""Pixels between panels."""

WRONG, CORRECT, VOID = (203, 24, 29), (255, 255, 255), (128, 128, 128)
"""Colors (red, green, blue) of pixels of wrong and correct class, and of void pixels."""


def panels(sample: Sample) -> dict[str, np.ndarray]:
    """Render the panels of a sample.

    Returns:
        uint8 (height, width, 3) by title: `image`, `ground truth`, `prediction` and `error`. Values have color bars below.
    """
    if not isinstance(sample, MaskSample):
        shown = [sample.image, sample.label, sample.prediction, sample.error]
    else:
        colors = [sample.classes.colorize(mask) for mask in (sample.label, sample.prediction)]
        shown = [sample.image, *colors, mask_errors(sample)]
    return dict(zip(("image", "ground truth", "prediction", "error"), shown, strict=True))


def mask_errors(sample: MaskSample) -> np.ndarray:
    """Color each pixel of a predicted mask by its error, with `WRONG`, `CORRECT` and `VOID`: uint8 (height, width, 3)."""
    table = np.array([CORRECT, WRONG, VOID], np.uint8)
    void = sample.label == sample.classes.ignore_index
    kinds: np.ndarray = np.where(void, 2, sample.label != sample.prediction)
    return table[kinds]


def side_by_side(sample: Sample) -> np.ndarray:
    """Place the panels of a sample in a row: uint8 (height, 4 widths and gaps, 3), on white."""
    return row_of(list(panels(sample).values()))


def row_of(images: Sequence[np.ndarray]) -> np.ndarray:
    """Place images, uint8 (height, width, 3), in a row with gaps, on white."""
    height = max(image.shape[0] for image in images)
    padded = [np.pad(i, ((0, height - i.shape[0]), (0, GAP), (0, 0)), constant_values=255) for i in images]
    return np.concatenate(padded, 1)[:, :-GAP]
