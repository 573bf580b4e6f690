"""Predictions as images."""

from pathlib import Path

import numpy as np
from PIL import Image

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.files import replaced
from refinenet_pl.visualization.legend import legend

ENDINGS = ("", "_color", "_overlay")
"""A prediction called NAME is written as NAME.png, NAME_color.png and NAME_overlay.png."""


def prediction_files(stem: Path) -> list[Path]:
    """The files that `save_prediction` writes."""
    return [stem.with_name(f"{stem.name}{ending}.png") for ending in ENDINGS]


def save_prediction(stem: Path, image: np.ndarray, mask: np.ndarray, classes: Classes) -> None:
    """Write a prediction as class ids, as colors with a legend, and laid over its image; each file as a whole or not at all.

    Args:
        stem: Path without an extension: STEM.png, STEM_color.png and STEM_overlay.png are written.
        image: uint8 (height, width, 3).
        mask: uint8 class ids (height, width).
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
    """Lay colors over an image.

    Args:
        image: uint8 (height, width, 3).
        colors: uint8 (height, width, 3).
        strength: Share of the colors, 0 to 1.
        out: Array for the result, which may be one of the others; None for a new one.

    Returns:
        uint8 (height, width, 3).
    """
    out = np.empty_like(image) if out is None else out
    for row, below, above in zip(out, image, colors, strict=True):  # row by row, since the products take 8 bytes a value
        row[:] = np.round(below * (1 - strength) + above * strength)
    return out


def with_legend(colors: np.ndarray, present: np.ndarray, classes: Classes) -> np.ndarray:
    """Add a legend below.

    Args:
        colors: uint8 (height, width, 3).
        present: Ids of the classes to name.
        classes: Names and colors.

    Returns:
        uint8 (height + rows of the legend, width, 3).
    """
    return np.concatenate([colors, legend(colors.shape[:2], present, classes)])


def _save(path: Path, pixels: np.ndarray) -> None:
    with replaced(path, durable=False) as stream:
        Image.fromarray(pixels).save(stream, "png")
