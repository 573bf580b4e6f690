"""Rasterization: pixels whose centers are inside, compared with known areas and with pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as reference

from refinenet_pl.datasets.importing.annotations import Polygons
from refinenet_pl.datasets.importing.polygons import ellipse, fill, rectangle, rotate

WIDTH, HEIGHT = 80, 70


def whole(*parts: object) -> np.ndarray:
    """Mask of the union of polygons in an image of 80x70 pixels."""
    left, top, inside = fill(Polygons(tuple(np.array(part, float) for part in parts)), (WIDTH, HEIGHT))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return mask


@pytest.mark.parametrize(
    ("x", "y", "columns", "rows"),
    [
        ((2, 7), (3, 5), (2, 7), (3, 5)),
        ((2.5, 7.5), (3.5, 5.5), (2, 7), (3, 5)),  # centers on left and upper edges are inside
        ((2.51, 7.51), (3.49, 5.49), (3, 8), (3, 5)),
        ((-9, 2), (68.2, 99), (0, 2), (68, 70)),
        ((2, 7), (3.6, 4.4), (2, 7), (4, 4)),  # contains no center
        ((90, 99), (3, 5), (80, 80), (3, 5)),
    ],
)
def test_rectangles(x, y, columns, rows):
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[slice(*rows), slice(*columns)] = True
    corners = rectangle(x[0], y[0], x[1], y[1])
    assert np.array_equal(whole(corners), expected) and np.array_equal(whole(corners[::-1]), expected)


def test_triangle():
    rows = ["1111", "0111", "0011", "0001"]
    assert np.array_equal(whole([(0, 0), (4, 0), (4, 4)])[:4, :4], np.array([list(row) for row in rows]) == "1")


def test_polygons_with_a_common_edge_share_no_pixel_and_leave_no_gap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, second = rng.uniform(0, WIDTH, 2)
        cut = [(first, 0), (second, HEIGHT)]
        left, right = whole([(0, 0), *cut, (0, HEIGHT)]), whole([cut[0], (WIDTH, 0), (WIDTH, HEIGHT), cut[1]])
        assert np.array_equal(left, ~right)


def test_parts_are_united_and_an_area_surrounded_twice_is_outside():
    square, inner = rectangle(10, 10, 30, 30), rectangle(15, 15, 25, 25)
    assert whole(square, inner).sum() == 400
    ring = [*square, square[0], *inner, inner[0]]  # a hole, connected by an edge in both directions
    assert whole(ring).sum() == 300 and not whole(ring)[15:25, 15:25].any()


def test_rotation_is_clockwise_and_ellipses_have_their_area():
    assert np.allclose(rotate(rectangle(0, 0, 2, 1), 90, 0, 0), [(0, 0), (0, 2), (-1, 2), (-1, 0)])
    assert whole(ellipse(40, 35, 30, 20)).sum() == pytest.approx(np.pi * 600, rel=0.005)
    turned = whole(rotate(ellipse(40, 35, 30, 10), 90, 40, 35))
    assert np.flatnonzero(turned.any(1))[[0, -1]].tolist() == [5, 64] and np.flatnonzero(turned.any(0))[[0, -1]].tolist() == [
        30,
        49,
    ]


def distances(mask: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distances of the centers of a mask's pixels to the outline."""
    centers = np.argwhere(mask)[:, None, ::-1] + 0.5
    edges = np.roll(polygon, -1, 0) - polygon
    along = (((centers - polygon) * edges).sum(2) / (edges**2).sum(1)).clip(0, 1)
    return np.linalg.norm(centers - polygon - along[..., None] * edges, axis=2).min(1)


@pytest.mark.parametrize("low", [0, -30])
def test_differs_from_pycocotools_only_along_outlines(low):
    """It rounds outlines to a fifth of a pixel."""
    rng, compared = np.random.default_rng(0), 0
    for _ in range(100):
        polygon = rng.uniform(low, 70 - low, (7, 2))  # intersects itself
        ours = whole(polygon)
        (code,) = reference.frPyObjects([polygon.ravel().tolist()], HEIGHT, WIDTH)
        different = ours != reference.decode(code).astype(bool)
        compared += ours.sum()
        assert (distances(different, polygon) < 0.3).all()
    assert compared > 50_000
