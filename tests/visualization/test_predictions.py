"""Files of predictions: class ids, colors with a legend, and overlays."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.readers.io import read_mask
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.visualization.predictions import overlay, save_prediction, with_legend

CLASSES = Classes(("road", "car", "tree"), ((200, 30, 40), (20, 160, 60), (30, 60, 220)), 255)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_colorize_paints_other_ids_black():
    colors = CLASSES.colorize(np.array([[0, 1, 2], [3, 255, -1]]))
    assert colors.dtype == np.uint8
    assert colors.tolist() == [[list(color) for color in CLASSES.palette], [[0, 0, 0]] * 3]


@pytest.mark.parametrize(("palette", "problem"), [(((0, 0, 0),), "2 class names"), (((0, 0, 0), (1, 1, 1)), "ignore_index 1")])
def test_refuses_inconsistent_classes(palette, problem):
    with pytest.raises(ValueError, match=problem):
        Classes(("a", "b"), palette, ignore_index=1)


def test_files_of_a_prediction(tmp_path):
    image, mask = noise(100, 150, 3), (noise(100, 150) % 2) * np.uint8(2)  # road and tree
    save_prediction(tmp_path / "street.01", image, mask, CLASSES)
    files = [tmp_path / f"street.01{ending}.png" for ending in ("", "_color", "_overlay")]
    assert sorted(tmp_path.iterdir()) == files
    ids, colors, overlaid = (np.array(Image.open(file)) for file in files)
    assert ids.dtype == np.uint8 and np.array_equal(ids, mask)
    assert np.array_equal(read_mask(tmp_path / "street.01.png", LabelValues.plain(3)), mask)
    assert colors.shape[0] > 100 and colors.shape[1:] == (150, 3)
    assert np.array_equal(colors[:100], CLASSES.colorize(mask))
    road, car, tree = (int((colors[100:] == color).all(2).sum()) for color in CLASSES.palette)
    assert road > 50 and car == 0 and tree > 50, "the legend has the classes that occur"
    assert np.abs(overlaid - (0.45 * image + 0.55 * CLASSES.colorize(mask))).max() <= 0.5 + 1e-6


def test_overlay():
    image, colors = noise(700, 500, 3), noise(700, 500, 3)[::-1]
    assert np.array_equal(overlay(image, colors, 0.0), image) and np.array_equal(overlay(image, colors, 1.0), colors)
    whole = np.round(image * (1 - 0.55) + colors * 0.55).astype(np.uint8)
    assert np.array_equal(overlay(image, colors), whole)
    out = colors.copy()
    assert overlay(image, out, out=out) is out and np.array_equal(out, whole)


def test_memory_of_writing(tmp_path):
    image, mask = noise(2000, 3000, 3), noise(2000, 3000) % np.uint8(3)
    tracemalloc.start()
    save_prediction(tmp_path / "x", image, mask, CLASSES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * image.nbytes


def test_legend_omits_void():
    colors = np.zeros((40, 60, 3), np.uint8)
    with_void = with_legend(colors, np.array([1, 255]), CLASSES)
    assert np.array_equal(with_void, with_legend(colors, np.array([1]), CLASSES))


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5)])
def test_odd_sizes(tmp_path, size):
    save_prediction(tmp_path / "x", noise(*size, 3), np.zeros(size, np.uint8), CLASSES)
    assert len(list(tmp_path.iterdir())) == 3
