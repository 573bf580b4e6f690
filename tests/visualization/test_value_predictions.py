"""Files of predicted values: 16-bit PNGs and NumPy files, which the dataset of values reads back, and colors."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.layouts.files import write_photo
from PIL import Image

from refinenet_pl.datasets.value_folder import ValueFolder
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import DataError
from refinenet_pl.visualization import value_predictions
from refinenet_pl.visualization.value_predictions import choose_format, png_divisor, prediction_files, save_values
from refinenet_pl.visualization.values import UNKNOWN, color_limits, colorize_values

DEPTH = Values(("depth",), "depth", "m", (0.1, 10))
NORMALS = Values(("x", "y", "z"), "normals")
IMAGE = Path("street/a.jpg")


def noise(*shape: int, limits: tuple[float, float] = (0, 1)) -> np.ndarray:
    return np.random.default_rng(0).uniform(*limits, shape).astype(np.float32)


@pytest.mark.parametrize(
    "values, divisor",
    [
        (DEPTH, 1000),
        (Values(("depth",), "depth", "m", (0.1, 65.535)), 1000),
        (Values(("depth",), "depth", "m", (0.1, 80)), 100),
        (Values(("depth",), "depth", "m"), 1000),
        (Values(("a",), range=(0, 1)), 10_000),
        (Values(("a",), range=(0, 6.5535)), 10_000),
        (Values(("a",), range=(0, 6.6)), 1000),
        (Values(("a",), unit="K", range=(-3, 9000)), 1),
        (Values(("a",), range=(0, 1e9)), 1),
    ],
)
def test_divisor_is_the_finest_power_of_ten(values, divisor):
    assert png_divisor(values) == divisor


@pytest.mark.parametrize(
    "values, chosen",
    [
        (DEPTH, "png"),
        (Values(("a",), range=(0, 65535)), "png"),
        (Values(("a",), range=(0, 65536)), "npy"),
        (Values(("a",), range=(-1, 1)), "npy"),
        (Values(("depth",), "depth", "m"), "npy"),
        (Values(("a", "b"), range=(0, 1)), "npy"),
        (NORMALS, "npy"),
    ],
)
def test_auto_is_png_only_if_the_range_is_known_to_fit(values, chosen):
    assert choose_format(values) == chosen and choose_format(values, "npy") == "npy"


@pytest.mark.parametrize(
    "values, problem",
    [(NORMALS, "3 \\(x, y, z\\)"), (Values(("a",)), "no range"), (Values(("a",), range=(-2, 0)), "ends at 0")],
)
def test_png_is_refused_if_the_scale_is_unknown(values, problem):
    with pytest.raises(ValueError, match=problem):
        choose_format(values, "png")


@pytest.mark.parametrize(
    "values", [DEPTH, Values(("depth",), "depth", "m", (1, 80)), Values(("Höhe 米",), "other", "°C", (0, 1))]
)
def test_png_is_read_back_to_half_a_step(tmp_path, values):
    target = noise(30, 40, 1, limits=values.range)
    save_values(tmp_path / "targets/train/a", IMAGE, target, values, "png")
    with Image.open(tmp_path / "targets/train/a.png") as image:
        facts = dict(image.text)
        assert image.mode == "I;16" and image.size == (40, 30)
    divisor = int(facts.pop("divisor"))
    assert divisor == png_divisor(values)
    assert facts == {"names": values.names[0], "kind": values.kind, "unit": values.unit}
    (tmp_path / "targets/train/a_color.png").unlink()
    write_photo(tmp_path / "images/train/a.jpg", (30, 40))
    keys = {"names": list(values.names), "kind": values.kind, "unit": values.unit, "divisor": divisor}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(keys))
    read = ValueFolder(tmp_path, "train").read(0)[1]
    assert np.abs(read - target).max() <= 0.5 / divisor * (1 + 1e-4)


@pytest.mark.parametrize("value", [-0.001, 65.536, np.nan, np.inf, -np.inf])
def test_values_that_do_not_fit_into_a_png(tmp_path, value):
    target = noise(30, 40, 1, limits=(0.1, 10))
    target[3, 4] = value
    with pytest.raises(DataError, match=f"^{IMAGE}: 1 predicted values, such as {value:g}, .* 0 to 65.535 m; .*--format npy"):
        save_values(tmp_path / "a", IMAGE, target, DEPTH, "png")
    assert list(tmp_path.iterdir()) == []
    save_values(tmp_path / "a", IMAGE, target, DEPTH, "npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), target[..., 0], equal_nan=True)
    colors = np.array(Image.open(tmp_path / "a_color.png"))
    assert (colors[3, 4] == UNKNOWN).all() == (not np.isfinite(value)), "gray if it has no color"


def test_files(tmp_path):
    target = noise(30, 40, 3, limits=(-1, 1))
    save_values(tmp_path / "street.01", IMAGE, target, NORMALS, "npy")
    assert sorted(tmp_path.iterdir()) == sorted(prediction_files(tmp_path / "street.01", "npy"))
    stored = np.load(tmp_path / "street.01.npy")
    assert stored.dtype == np.float32 and np.array_equal(stored, target)
    assert [file.name for file in prediction_files(Path("x/a.b"), "png")] == ["a.b.png", "a.b_color.png"]


@pytest.mark.parametrize("values", [DEPTH, NORMALS, Values(("a", "b"), "heatmap", range=(0, 1))])
def test_colors_have_a_bar_below(tmp_path, monkeypatch, values):
    monkeypatch.setattr(value_predictions, "_CHUNK", 100)
    target = noise(30, 40, len(values))
    save_values(tmp_path / "a", IMAGE, target, values, "npy")
    colors = np.array(Image.open(tmp_path / "a_color.png"))
    assert colors.shape[0] > 40 and colors.shape[1:] == (40, 3)
    assert np.array_equal(colors[:30], colorize_values(target, values, color_limits(target, values)))


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5)])
def test_odd_sizes(tmp_path, size):
    save_values(tmp_path / "x", IMAGE, np.ones((*size, 1), np.float32), DEPTH, "png")
    assert Image.open(tmp_path / "x.png").size == size[::-1] and (np.array(Image.open(tmp_path / "x.png")) == 1000).all()
