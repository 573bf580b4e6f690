"""Color bar of continuous values, to append below an image."""

import math
from itertools import pairwise

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values
from refinenet_pl.visualization.fonts import figure_names
from refinenet_pl.visualization.legend import Writer, legend
from refinenet_pl.visualization.values import color_map as default_color_map
from refinenet_pl.visualization.values import label_palette

NORMALS = "x right: red, y: green, z: blue"


def with_color_bar(colors: np.ndarray, limits: tuple[float, float], values: Values, color_map: str | None = None) -> np.ndarray:
    """Append a color bar below an image.

    Args:
        colors: uint8 (height, width, 3).
        limits: Values of the first and the last color.
        values: Meaning of the values.
        color_map: Name of matplotlib's color map; None for that of `colorize_values`.

    Returns:
        uint8 (height + height of the color bar, width, 3).
    """
    return np.concatenate([colors, color_bar(colors.shape[1], limits, values, color_map)])


def color_bar(width: int, limits: tuple[float, float], values: Values, color_map: str | None = None) -> np.ndarray:
    """Render a color bar with the low, middle and high value and the unit.

    Narrow bars have the unit only once, or lack the middle value. Without `color_map`, normals have a text in place of the bar,
    because their red, green and blue are x, y and z, and labels have a legend.

    Args:
        width: Width of the image in pixels.
        limits: Values of the first and the last color.
        values: Meaning of the values.
        color_map: Name of matplotlib's color map; None for that of `colorize_values`.

    Returns:
        uint8 (height of the color bar, width, 3), on a white background.
    """
    if values.kind == "labels" and color_map is None:
        return legend((width, width), np.arange(len(values)), Classes(values.names, label_palette(values), ignore_index=-1))
    size = max(11, min(width // 32, 48))  # of the font, and of the bar
    margin, line_height = size // 2, round(1.4 * size)
    inner = max(1, width - 2 * margin)
    unit = "".join(f" {name}" for name in figure_names([values.unit], length=12) if name)
    low, middle, high = numbers = _format((limits[0], sum(limits) / 2, limits[1]))
    writer = Writer("".join([NORMALS, *numbers, unit]), size)
    if values.kind == "normals" and color_map is None:
        rows = [[(0.0, line)] for line in writer.wrap(NORMALS, inner)]
        bar = 0
    else:
        choices = [number + unit for number in numbers], [low, middle, high + unit], [low, high + unit]
        placed = [_place(labels, writer, inner) for labels in choices]
        fitting = next((row for row in placed if _have_gaps(row, writer, size / 2)), None)
        rows = [fitting] if fitting else [[label] for label in placed[-1]]
        bar = size
    canvas = Image.new("RGB", (width, 2 * margin + bar + len(rows) * line_height), "white")
    draw = ImageDraw.Draw(canvas)
    if bar:
        gradient = matplotlib.colormaps[color_map or default_color_map(values)](np.linspace(0, 1, inner))[None, :, :3]
        canvas.paste(Image.fromarray((gradient * 255).round().astype(np.uint8).repeat(bar, axis=0)), (margin, margin))
        draw.rectangle((margin, margin, margin + inner - 1, margin + bar - 1), outline="black")
    for number, row in enumerate(rows, start=1):
        for x, label in row:
            writer.write(draw, (margin + x, margin + bar + number * line_height - 0.1 * size), label)
    return np.array(canvas)


def _place(labels: list[str], writer: Writer, width: int) -> list[tuple[float, str]]:
    """Return the left end of each label: the first one is flush left, a middle one centered, and the last one flush right."""
    shares = np.linspace(0, 1, len(labels))
    return [(share * (width - writer.length(label)), label) for share, label in zip(shares, labels, strict=True)]


def _have_gaps(row: list[tuple[float, str]], writer: Writer, gap: float) -> bool:
    return all(x + writer.length(label) + gap <= following for (x, label), (following, _) in pairwise(row))


def _format(numbers: tuple[float, ...]) -> list[str]:
    """Format increasing numbers with three significant digits of their span."""
    span = numbers[-1] - numbers[0]
    digits = 2 - math.floor(math.log10(span)) if span > 0 else 2
    if digits > 5 or max(map(abs, numbers)) >= 1e7:
        return [f"{number:.3g}" for number in numbers]
    decimals = max(0, digits)
    # Adding 0 converts -0.0 to 0.0.
    texts = [f"{round(number, decimals) + 0.0:.{decimals}f}" for number in numbers]
    return [text.rstrip("0").rstrip(".") if decimals else text for text in texts]
