"""Colors of continuous values."""

import matplotlib
import numpy as np

from refinenet_pl.datasets.classes import VOC_PALETTE
from refinenet_pl.datasets.values import Values

UNKNOWN = (160, 160, 160)
"""Color of unknown values, which is in none of the color maps."""

# Red, blue, green, yellow, purple, cyan, orange, pink, brown, light green. The means of the first are not gray.
_LABEL_COLORS = (
    (230, 60, 40), (40, 120, 230), (60, 180, 75), (240, 200, 30), (170, 60, 200), (0, 200, 200), (250, 140, 20),
    (240, 130, 190), (150, 90, 40), (130, 220, 120),
)  # fmt: skip


def color_limits(target: np.ndarray, values: Values) -> tuple[float, float]:
    """Choose the values of the first and the last color: percentiles 2 and 98 for depth, otherwise the range or the extremes.

    Args:
        target: Float (..., channels), NaN where unknown.
        values: Their meaning.
    """
    known = target[~np.isnan(target)]
    if not known.size:
        return 0.0, 1.0
    if values.kind != "depth" and values.range is not None:
        return values.range
    low, high = np.percentile(known, (2, 98)) if values.kind == "depth" else (known.min(), known.max())
    return float(low), float(high if high > low else low + 1)


def colorize_values(target: np.ndarray, values: Values, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Map values to colors.

    Normals are red, green and blue, and labels mix their colors, black for none. Others have a color map, bright for near
    depths and high values.

    Args:
        target: Float (height, width, channels), NaN where unknown. Of several channels, the largest value is shown.
        values: Their meaning.
        limits: Values of the first and the last color; None for `color_limits`.

    Returns:
        uint8 (height, width, 3), gray where unknown.
    """
    unknown = np.isnan(target).all(-1)
    filled = np.nan_to_num(target.astype(np.float32), nan=-np.inf)
    if values.kind == "normals":
        colors = np.clip((np.nan_to_num(target) + 1) * 127.5, 0, 255).astype(np.uint8)
    elif values.kind == "labels":
        colors = mix_label_colors(np.nan_to_num(target).astype(np.float32), values).round().astype(np.uint8)
    else:
        low, high = limits or color_limits(target, values)
        share = np.clip((filled.max(-1) - low) / (high - low), 0, 1)
        colors = (matplotlib.colormaps[color_map(values)](share)[..., :3] * 255).round().astype(np.uint8)
    colors[unknown] = UNKNOWN
    return colors


def label_palette(values: Values) -> tuple[tuple[int, int, int], ...]:
    """Color of each label, (red, green, blue) in 0..255."""
    colors = _LABEL_COLORS if len(values) <= len(_LABEL_COLORS) else VOC_PALETTE[1:]
    return colors[: len(values)]


def mix_label_colors(weights: np.ndarray, values: Values) -> np.ndarray:
    """Mix the colors of the labels of each pixel.

    Args:
        weights: Labels or their probabilities, float (height, width, labels) in 0..1.
        values: The labels.

    Returns:
        Float (height, width, 3) in 0..255: the mean color of a pixel's labels, darker for low probabilities, black for none.
    """
    weights = weights.clip(0, 1)
    palette = np.array(label_palette(values), np.float32)
    return weights @ palette / weights.sum(-1, keepdims=True).clip(min=1)


def color_map(values: Values) -> str:
    """Name of matplotlib's color map: near depths are bright."""
    return "magma_r" if values.kind == "depth" else "viridis"
