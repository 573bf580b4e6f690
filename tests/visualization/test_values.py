"""Colors and sheets of continuous values."""

import numpy as np
import pytest

from refinenet_pl.datasets.scenes_values import ScenesDepth, ScenesKeypoints
from refinenet_pl.datasets.values import Values
from refinenet_pl.visualization.value_sheet import value_sheet
from refinenet_pl.visualization.values import UNKNOWN, color_limits, colorize_values

DEPTH = Values(("depth",), "depth", "m", (0.1, 80))


def test_near_depths_are_bright_and_unknown_ones_gray():
    depth = np.linspace(1, 50, 100, dtype=np.float32).reshape(10, 10, 1)
    depth[0, 0] = np.nan
    colors = colorize_values(depth, DEPTH)
    assert colors.dtype == np.uint8 and colors[0, 0].tolist() == list(UNKNOWN)
    brightness = colors.astype(int).sum(-1).ravel()[1:]
    assert (np.diff(brightness) <= 0).all() and brightness[0] > 600 > 50 > brightness[-1]


def test_normals_are_colors():
    normals = np.array([[[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [np.nan] * 3]], np.float32)
    colors = colorize_values(normals, Values(("x", "y", "z"), "normals"))
    assert colors[0].tolist() == [[127, 127, 255], [0, 127, 127], list(UNKNOWN)]


@pytest.mark.parametrize(
    "target, values, limits",
    [
        (np.full((2, 2, 1), np.nan), DEPTH, (0, 1)),
        (np.full((2, 2, 1), 3.0), DEPTH, (3, 4)),
        (np.zeros((2, 2, 2)), Values(("a", "b"), "heatmap", range=(0.0, 1.0)), (0, 1)),
        (np.array([[[2.0], [6.0]]]), Values(("a",)), (2, 6)),
    ],
)
def test_color_limits(target, values, limits):
    assert color_limits(target, values) == limits


@pytest.mark.parametrize("dataset", [ScenesDepth(samples=3), ScenesKeypoints(samples=1)], ids=lambda dataset: dataset.title)
def test_sheet(dataset):
    figure = value_sheet(dataset)
    left, right = figure.subfigs
    assert f"{len(dataset)} of {len(dataset)} samples" in left.get_suptitle()
    assert len(left.axes) == 2 * len(dataset) + 1  # and the color bar
    assert [axis.get_title().split(":")[0] for axis in right.axes] == list(dataset.values.names)
