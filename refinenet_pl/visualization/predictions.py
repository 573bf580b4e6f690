"""Predictions as images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.files import replaced
from refinenet_pl.visualization.legend import legend

ENDINGS = ("", "_color", "_overlay")
"""A prediction called NAME is written as NAME.png, NAME_color.png and NAME_overlay.png."""

# Rows are processed together up to so many pixels, so that no array of another type has the size of the image.
_PIXELS = 1 << 18


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
    height = len(mask)
    picture = Image.fromarray(mask)
    _save(picture, ids)
    strip = legend(mask.shape, np.flatnonzero(picture.histogram()), classes)
    canvas = np.empty((height + len(strip), *strip.shape[1:]), np.uint8)
    canvas[height:] = strip
    colors, table = canvas[:height], classes.colourise(np.arange(256))
    for rows in _rows(mask):
        colors[rows] = table[mask[rows]]
    _save(Image.fromarray(canvas), colored)
    _save(Image.fromarray(overlay(image, colors, out=colors)), overlaid)


def overlay(image: np.ndarray, colours: np.ndarray, strength: float = 0.55, out: np.ndarray | None = None) -> np.ndarray:
    """Lay colors over an image.

    Args:
        image: uint8 (height, width, 3).
        colours: uint8 (height, width, 3).
        strength: Share of the colors, 0 to 1.
        out: Array for the result, which may be one of the others; None for a new one.

    Returns:
        uint8 (height, width, 3).
    """
    out = np.empty_like(image) if out is None else out
    for rows in _rows(image):
        out[rows] = np.round(image[rows] * (1 - strength) + colours[rows] * strength)
    return out


def with_legend(colours: np.ndarray, present: np.ndarray, classes: Classes) -> np.ndarray:
    """Add a strip below that names the colors.

    Args:
        colours: uint8 (height, width, 3).
        present: Ids of the classes to name.
        classes: Names and colors.

    Returns:
        uint8 (height + strip, width, 3).
    """
    return np.concatenate([colours, legend(colours.shape[:2], present, classes)])


def _rows(image: np.ndarray) -> Iterator[slice]:
    height, width = image.shape[:2]
    step = max(1, _PIXELS // width)
    return (slice(start, start + step) for start in range(0, height, step))


def _save(picture: Image.Image, path: Path) -> None:
    with replaced(path, durable=False) as stream:
        picture.save(stream, "png")
