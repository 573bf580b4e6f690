"""Image files of predictions."""

from pathlib import Path

import numpy as np
from PIL import Image

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.files import replaced
from refinenet_pl.visualization.legend import legend

ENDINGS = ("", "_color", "_overlay")
"""Suffixes of the files of a prediction: NAME.png, NAME_color.png and NAME_overlay.png."""


def prediction_files(stem: Path) -> list[Path]:
    """Return the files that `save_prediction` writes."""
    return [stem.with_name(f"{stem.name}{ending}.png") for ending in ENDINGS]


def save_prediction(stem: Path, image: np.ndarray, mask: np.ndarray, classes: Classes) -> None:
    """Write a prediction: class ids (STEM.png), colors with a legend (STEM_color.png) and an overlay (STEM_overlay.png).

    Each file is replaced atomically.

    Args:
        stem: Path of the files without suffix and extension.
        image: Image that was segmented: uint8, (height, width, 3).
        mask: Predicted class ids: uint8, (height, width).
        classes: Names and colors.

    Raises:
        OSError: A file cannot be written; the error names it.
    """
    ids, colored, overlaid = prediction_files(stem)
    _save(ids, mask)
    framed = with_legend(classes.colorize(mask), np.unique(mask), classes)
    _save(colored, framed)
    colors = framed[: len(mask)]
    _save(overlaid, overlay(image, colors, out=colors))


def overlay(image: np.ndarray, colors: np.ndarray, strength: float = 0.55, out: np.ndarray | None = None) -> np.ndarray:
    """Blend colors with an image.

    Args:
        image: uint8, (height, width, 3).
        colors: uint8, (height, width, 3).
        strength: Weight of the colors, 0 to 1.
        out: Array to write the result to, which may be `image` or `colors`; None for a new array.

    Returns:
        uint8, (height, width, 3).
    """
    out = np.empty_like(image) if out is None else out
    for row, below, above in zip(out, image, colors, strict=True):  # row by row, because the products need 8 bytes a value
        row[:] = np.round(below * (1 - strength) + above * strength)
    return out


def with_legend(colors: np.ndarray, present: np.ndarray, classes: Classes) -> np.ndarray:
    """Append a legend below an image.

    Args:
        colors: uint8, (height, width, 3).
        present: Ids of the classes to list.
        classes: Names and colors.

    Returns:
        uint8, (height + height of the legend, width, 3).
    """
    return np.concatenate([colors, legend(colors.shape[:2], present, classes)])


def _save(path: Path, pixels: np.ndarray) -> None:
    with replaced(path, durable=False) as stream:
        Image.fromarray(pixels).save(stream, "png")
