"""Files and colors of predicted labels."""

import numpy as np
import pytest
import yaml
from helpers.layouts.files import write_photo
from PIL import Image

from refinenet_pl.datasets.scenes_values import ScenesLabels
from refinenet_pl.datasets.value_folder import ValueFolder
from refinenet_pl.datasets.values import Values
from refinenet_pl.visualization.label_predictions import label_files, overlay_labels, save_labels
from refinenet_pl.visualization.value_sheet import value_sheet
from refinenet_pl.visualization.values import UNKNOWN, colorize_values, label_palette

TWO = Values(("road", "wet"), "labels", range=(0.0, 1.0))
ONE = Values(("road",), "labels", range=(0.0, 1.0))
IMAGE = np.random.default_rng(0).integers(0, 256, (300, 40, 3), np.uint8)
PROBABILITY = np.random.default_rng(1).random((300, 40, 2), np.float32)


@pytest.mark.parametrize("values, paths", [(TWO, ["road/a.png", "wet/a.png"]), (ONE, ["a.png"])])
def test_masks_are_targets(tmp_path, values, paths):
    folder, probability = tmp_path / "targets/train", PROBABILITY[..., : len(values)]
    save_labels(folder / "a", IMAGE, probability, values, "png", threshold=0.7)
    files = [*(folder / path for path in paths), folder / "a_overlay.png"]
    assert label_files(folder / "a", values, "png") == files and all(file.exists() for file in files)
    assert np.unique(np.asarray(Image.open(files[0]))).tolist() == [0, 255]
    files[-1].unlink()
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"kind": "labels", "names": [*values.names]}))
    write_photo(tmp_path / "images/train/a.jpg", IMAGE.shape[:2])
    assert np.array_equal(ValueFolder(tmp_path, "train").read(0)[1], probability > 0.7)


@pytest.mark.parametrize("values, shape", [(TWO, (300, 40, 2)), (ONE, (300, 40))])
def test_probabilities(tmp_path, values, shape):
    probability = PROBABILITY[..., : len(values)]
    save_labels(tmp_path / "a", IMAGE, probability, values, "npy")
    stored = np.load(tmp_path / "a.npy")
    assert stored.shape == shape and stored.dtype == np.float32 and np.array_equal(stored, probability.reshape(shape))
    assert sorted(tmp_path.iterdir()) == label_files(tmp_path / "a", values, "npy")


def test_overlay(tmp_path):
    """Pixels with no, one and both labels."""
    first, second = np.array(label_palette(TWO), float)
    masks = np.zeros((300, 40, 2), bool)
    masks[100:, :, 0] = masks[200:, :, 1] = True
    expected = IMAGE.astype(float)
    expected[100:200] = 0.45 * IMAGE[100:200] + 0.55 * first
    expected[200:] = 0.45 * IMAGE[200:] + 0.55 * (first + second) / 2
    blended = overlay_labels(IMAGE, masks, TWO)
    assert np.array_equal(blended[:100], IMAGE[:100]) and np.abs(blended - expected).max() <= 0.501
    save_labels(tmp_path / "a", IMAGE, masks.astype(np.float32), TWO, "png")
    framed = np.asarray(Image.open(tmp_path / "a_overlay.png"))
    assert np.array_equal(framed[:300], blended)
    assert all((framed[300:] == color).all(-1).any() for color in label_palette(TWO))  # of the legend


def test_colors():
    first, second = np.array(label_palette(TWO), float)
    target = np.array([[[0, 0], [1, 0], [1, 1], [0, 0.5], [np.nan, 1], [np.nan, np.nan]]], np.float32)
    expected = [[0, 0, 0], first, (first + second) / 2, second / 2, second, UNKNOWN]
    assert np.abs(colorize_values(target, TWO)[0] - np.array(expected, float)).max() <= 0.501


@pytest.mark.parametrize("number", [1, 10, 40])
def test_colors_differ(number):
    names = tuple(f"label {index}" for index in range(number))
    assert len(set(label_palette(Values(names, "labels", range=(0, 1))))) == number


def test_sheet():
    dataset = ScenesLabels(samples=2)
    left, right = value_sheet(dataset).subfigs
    assert len(left.axes) == 4
    targets = np.stack([dataset.read(index)[1] for index in range(2)])
    texts = [text.get_text() for text in right.axes[0].texts]
    shares = (targets == 1).mean((0, 1, 2))
    assert [text.split(",")[0] for text in texts] == [f"{share:.1%}" for share in shares]
