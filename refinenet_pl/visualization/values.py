"""Colors of continuous values."""

import matplotlib
import numpy as np

from refinenet_pl.datasets.values import Values

UNKNOWN = (160, 160, 160)
"""Color of unknown values, which is in none of the color maps."""


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
    """Map values to colors: normals to red, green and blue, others to a color map, bright for near depths and high values.

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
    else:
        low, high = limits or color_limits(target, values)
        share = np.clip((filled.max(-1) - low) / (high - low), 0, 1)
        colors = (matplotlib.colormaps[color_map(values)](share)[..., :3] * 255).round().astype(np.uint8)
    colors[unknown] = UNKNOWN
    return colors


def color_map(values: Values) -> str:
    """Name of matplotlib's color map: near depths are bright."""
    return "magma_r" if values.kind == "depth" else "viridis"
