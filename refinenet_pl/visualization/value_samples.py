"""Images with continuous values, predictions and errors, next to each other."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from refinenet_pl.datasets.values import Values
from refinenet_pl.visualization.color_bar import with_color_bar
from refinenet_pl.visualization.legend import Writer
from refinenet_pl.visualization.panels import GAP, row_of, side_by_side
from refinenet_pl.visualization.sample import ValueSample
from refinenet_pl.visualization.values import UNKNOWN, color_limits, colorize_values

ERROR_COLORS = "Reds"
"""Color map of errors; white is 0."""


def errors(prediction: np.ndarray, target: np.ndarray, values: Values) -> np.ndarray:
    """Compute the error of each pixel.

    Args:
        prediction: Float (height, width, channels).
        target: Float of the same shape, NaN where unknown.
        values: Their meaning.

    Returns:
        float32 (height, width), NaN where all channels are unknown: the angle in degrees for normals, otherwise the largest
        absolute difference of the channels.
    """
    if values.kind == "normals":
        norms = np.linalg.norm(prediction, axis=-1) * np.linalg.norm(target, axis=-1)
        cosine = (prediction * target).sum(-1) / np.maximum(norms, 1e-12)
        return np.degrees(np.arccos(np.clip(cosine, -1, 1))).astype(np.float32)
    unknown = np.isnan(target).all(-1)
    largest = np.nan_to_num(np.abs(prediction - target), nan=-1.0).max(-1)
    return np.where(unknown, np.nan, largest).astype(np.float32)


def error_limit(limits: tuple[float, float], values: Values) -> float:
    """Error with the strongest color: equal in all runs, because it depends on the colors of the target only.

    Args:
        limits: Values of the first and the last color of the target.
        values: Their meaning.
    """
    if values.kind == "normals":
        return 60.0
    return (limits[1] - limits[0]) * (0.25 if values.kind == "depth" else 1.0)


def colorize_errors(found: np.ndarray, limit: float) -> np.ndarray:
    """Map errors, float (height, width), to uint8 (height, width, 3): white for 0, red for `limit`, gray for unknown."""
    share = np.clip(np.nan_to_num(found) / limit, 0, 1)
    colors = (matplotlib.colormaps[ERROR_COLORS](share)[..., :3] * 255).round().astype(np.uint8)
    colors[np.isnan(found)] = UNKNOWN
    return colors


def value_sample(name: str, image: np.ndarray, target: np.ndarray, prediction: np.ndarray, values: Values) -> ValueSample:
    """Color the values of a sample and the errors of its prediction.

    Args:
        name: Name of the sample.
        image: uint8 (height, width, 3).
        target: Float (height, width, channels), NaN where unknown.
        prediction: Float of the same shape.
        values: Their meaning.
    """
    limits = color_limits(target, values)
    limit = error_limit(limits, values)
    error = colorize_errors(errors(prediction, target, values), limit)
    of_error = Values(("error",), unit="\N{DEGREE SIGN}" if values.kind == "normals" else values.unit)
    return ValueSample(
        name,
        image,
        with_color_bar(colorize_values(target, values, limits), limits, values),
        with_color_bar(colorize_values(prediction, values, limits), limits, values),
        with_color_bar(error, (0.0, limit), of_error, ERROR_COLORS),
    )


def sheet(samples: Sequence[ValueSample]) -> np.ndarray:
    """Place the rows of one or more samples below each other, with headings: uint8 (height, width, 3), on white."""
    headings = [_heading(text, samples[0].image.shape[1]) for text in ("image", "ground truth", "prediction", "error")]
    rows = [row_of(headings), *map(side_by_side, samples)]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)


def _heading(text: str, width: int) -> np.ndarray:
    size = max(11, min(width // 24, 32))
    canvas = Image.new("RGB", (width, round(1.5 * size)), "white")
    Writer(text, size).write(ImageDraw.Draw(canvas), (0, 1.1 * size), text)
    return np.array(canvas)
