"""Rasterization of polygons, and conversion of other shapes to polygons.

Coordinates are continuous, as in all annotation tools: the first pixel of an image covers 0 to 1 in x and y. A pixel belongs to
a polygon if its center does. A center on a left or upper edge belongs to it, and a center on a right or lower edge does not, so
that polygons with a common edge share no pixel and leave no gap. An area that a polygon surrounds twice is outside (even-odd
rule).
"""

from typing import NamedTuple

import numpy as np

from refinenet_pl.datasets.importing.annotations import Polygons, Size

# Chords of a circle; with a radius of 1,000 pixels, they are within 0.04 pixels of it.
_VERTICES = 360


class Crop(NamedTuple):
    """A part of an image that contains a region.

    Attributes:
        left: First column.
        top: First row.
        mask: The region's pixels, bool (height, width).
    """

    left: int
    top: int
    mask: np.ndarray


def fill(polygons: Polygons, size: Size) -> Crop:
    """Rasterize the union of polygons; parts outside the image are cut off.

    Args:
        polygons: Vertices in pixels.
        size: Width and height of the image.

    Returns:
        The pixels inside, in their bounding box.
    """
    corners = np.concatenate(polygons.parts)
    limits = np.array(size, float)
    # Centers at i + 0.5 are in [low, high) for i from ceil(low - 0.5) on, below ceil(high - 0.5).
    bounds = [np.ceil(edge - 0.5).clip(0, limits).astype(int) for edge in (corners.min(0), corners.max(0))]
    (left, top), (right, bottom) = bounds
    mask = np.zeros((bottom - top, right - left), bool)
    for part in polygons.parts:
        mask |= _inside(part - (left, top), mask.shape)
    return Crop(int(left), int(top), mask)


def _inside(vertices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels inside one polygon by the even-odd rule: each row changes sides at its crossings with the edges."""
    height, width = shape
    ends = np.roll(vertices, -1, axis=0)
    low, high = np.minimum(vertices, ends)[:, 1], np.maximum(vertices, ends)[:, 1]
    first, last = (np.ceil(y - 0.5).clip(0, height).astype(int) for y in (low, high))
    rows_of_edges = last - first
    edge = np.repeat(np.arange(len(vertices)), rows_of_edges)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows_of_edges) - rows_of_edges - first, rows_of_edges)
    (x, y), (run, rise) = vertices[edge].T, (ends - vertices)[edge].T
    column = np.ceil(x + (row + 0.5 - y) * run / rise - 0.5).clip(0, width).astype(int)
    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.cumsum(crossings, axis=1, dtype=np.uint8)[:, :width] % 2 == 1  # an overflow preserves the parity


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Vertices of an upright rectangle with two opposite corners, float64 (4, 2)."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Vertices of an upright ellipse with center (x, y), float64 (360, 2)."""
    angles = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False)
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


def rotate(vertices: np.ndarray, degrees: float, x: float, y: float) -> np.ndarray:
    """Rotate vertices clockwise, as seen in the image, around (x, y)."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (vertices - (x, y)) @ np.array([(cosine, sine), (-sine, cosine)]) + (x, y)
