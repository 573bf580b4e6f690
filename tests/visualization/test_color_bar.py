"""Color bars below images of continuous values."""

import matplotlib
import numpy as np
import pytest

from refinenet_pl.datasets.values import Values
from refinenet_pl.visualization.color_bar import color_bar, with_color_bar

DEPTH = Values(("depth",), "depth", "m")
HEAT = Values(("a", "b"), "heatmap", range=(0.0, 1.0))
NORMALS = Values(("x", "y", "z"), "normals")


def color(name: str, share: float) -> np.ndarray:
    return np.array(matplotlib.colormaps[name](share)[:3]) * 255


@pytest.mark.parametrize(
    "values, color_map, used", [(DEPTH, None, "magma_r"), (HEAT, None, "viridis"), (DEPTH, "inferno", "inferno")]
)
@pytest.mark.parametrize("width", [64, 2048])
def test_gradient_has_the_colors_of_the_map(width, values, color_map, used):
    bar = color_bar(width, (0.5, 9.5), values, color_map)
    assert bar.dtype == np.uint8 and bar.shape[1:] == (width, 3) and (bar[:, 0] == 255).all()
    row = bar[max(11, min(width // 32, 48))]
    inside = np.flatnonzero((row != 255).any(1))
    share = (inside - inside[0]) / (inside[-1] - inside[0])
    for place in 0.1, 0.5, 0.9:
        index = int(np.argmin(np.abs(share - place)))
        assert np.abs(row[inside[index]] - color(used, share[index])).max() <= 4


@pytest.mark.parametrize("width", [64, 128, 640, 2048])
def test_labels_show_the_limits_and_the_unit(width):
    bars = [
        color_bar(width, limits, values)
        for limits in ((0.5, 9.5), (0.6, 9.5), (0.5, 9.6))
        for values in (DEPTH, Values(("depth",), "depth", "km"))
    ]
    assert len({bar.tobytes() for bar in bars}) == len(bars)
    assert all((bar[-2:] == 255).all() and (bar[:, -2:] == 255).all() for bar in bars), "no label is cut off"


def test_narrow_bars_have_two_rows_of_labels():
    assert len(color_bar(64, (0.52, 9.87), DEPTH)) > len(color_bar(64, (0, 1), DEPTH))


def test_normals_have_a_text_unless_a_color_map_is_given():
    text = color_bar(640, (-1, 1), NORMALS)
    assert (text == text[..., :1]).all(), "black on white"
    assert len(color_bar(64, (-1, 1), NORMALS)) > len(text) and not (text == 255).all()
    errors = color_bar(640, (0, 30), NORMALS, "inferno")
    assert (errors != errors[..., :1]).any()


@pytest.mark.parametrize("limits", [(0, 1), (-1e-9, 1e-9), (0, 3e8), (-5, -4), (2, 2)])
@pytest.mark.parametrize("width", [1, 5, 300])
def test_any_width_and_limits(width, limits):
    colors = np.full((7, width, 3), 9, np.uint8)
    framed = with_color_bar(colors, limits, Values(("a",), unit="µm²"))
    assert len(framed) > 7 and framed.shape[1:] == (width, 3) and np.array_equal(framed[:7], colors)
