"""Predictions as pictures."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from refinenet_pl.data.classes import Classes


def save_prediction(stem: Path, image: np.ndarray, mask: np.ndarray, classes: Classes) -> None:
    """Write a prediction as class ids, as colours with a legend, and laid over its picture.

    Args:
        stem: Path without an ending: STEM.png, STEM_color.png and STEM_overlay.png are written.
        image: uint8 (height, width, 3).
        mask: uint8 class ids (height, width).
        classes: Names and colours.
    """
    colours = classes.colourise(mask)
    Image.fromarray(mask).save(stem.with_name(f"{stem.name}.png"))
    Image.fromarray(with_legend(colours, np.unique(mask), classes)).save(stem.with_name(f"{stem.name}_color.png"))
    Image.fromarray(overlay(image, colours)).save(stem.with_name(f"{stem.name}_overlay.png"))


def overlay(image: np.ndarray, colours: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """Lay colours over a picture: uint8 (height, width, 3) both and the result."""
    return np.round(image * (1 - strength) + colours * strength).astype(np.uint8)


def with_legend(colours: np.ndarray, present: np.ndarray, classes: Classes) -> np.ndarray:
    """Add a strip below that names the colours.

    Args:
        colours: uint8 (height, width, 3).
        present: Ids of the classes to name.
        classes: Names and colours.

    Returns:
        uint8 (height + strip, width, 3).
    """
    height, width = colours.shape[:2]
    size = max(11, min(height, width) // 24)
    font = ImageFont.load_default(size)
    labels = [(classes.names[label], classes.palette[label]) for label in present if label < len(classes)]
    row_height, places = round(size * 1.6), []
    x, row = size // 2, 0
    for name, _ in labels:
        extent = round(size * 2.2 + font.getlength(name))
        if x + extent > width and x > size:
            x, row = size // 2, row + 1
        places.append((x, row))
        x += extent
    canvas = Image.new("RGB", (width, height + (row + 1) * row_height + size // 2), "white")
    canvas.paste(Image.fromarray(colours))
    draw = ImageDraw.Draw(canvas)
    for (name, colour), (x, row) in zip(labels, places, strict=True):
        top = height + size // 2 + row * row_height
        draw.rectangle((x, top, x + size, top + size), fill=tuple(colour), outline="black")
        draw.text((x + 1.4 * size, top + size / 2), name, fill="black", font=font, anchor="lm")
    return np.array(canvas)
