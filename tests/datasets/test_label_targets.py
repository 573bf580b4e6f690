"""Targets of labels in a custom dataset: folders of masks, single masks, and NumPy files."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.layouts.files import write_image, write_photo
from PIL import Image

from refinenet_pl.datasets.value_folder import ValueFolder
from refinenet_pl.errors import DataError

NAMES = ("road", "wet")
MASKS = np.random.default_rng(0).integers(0, 2, (2, 12, 16), np.uint8)


def write_values(root: Path, **keys: object) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "values.yaml").write_text(yaml.safe_dump({"kind": "labels", "names": [*NAMES], **keys}))


def build(root: Path, masks=255 * MASKS, **keys: object) -> Path:
    """Write a dataset of one image with a mask for each label; return the folder of its targets."""
    write_values(root, **keys)
    write_photo(root / "images/train/a.jpg", (12, 16))
    for name, mask in zip(NAMES, masks, strict=True):
        write_image(root / "targets/train" / name / "a.png", mask)
    return root / "targets/train"


def target(root: Path) -> np.ndarray:
    """Labels of the image, (labels, height, width)."""
    found = ValueFolder(root, "train").read(0)[1]
    assert found.dtype == np.float32
    return found.transpose(2, 0, 1)


@pytest.mark.parametrize(
    "masks",
    [255 * MASKS, MASKS, MASKS.astype(bool), (255 * MASKS)[..., None].repeat(3, 3), MASKS.astype(np.uint16)],
    ids=["255", "1", "1 bit", "colors", "16 bits"],
)
def test_a_folder_for_each_label(tmp_path, masks):
    build(tmp_path, masks)
    assert np.array_equal(target(tmp_path), MASKS)
    assert ValueFolder.values_of(tmp_path).range == (0, 1) and ValueFolder(tmp_path, "train").left_out == ""


@pytest.mark.parametrize("array", [MASKS, MASKS.transpose(1, 2, 0), MASKS.astype(bool), np.float32(MASKS)])
def test_all_labels_in_a_numpy_file(tmp_path, array):
    write_values(tmp_path)
    write_photo(tmp_path / "images/train/a.jpg", (12, 16))
    (tmp_path / "targets/train").mkdir(parents=True)
    np.save(tmp_path / "targets/train/a.npy", array)
    assert np.array_equal(target(tmp_path), MASKS)


def test_one_label_needs_no_folder(tmp_path):
    write_values(tmp_path, names=["road"])
    write_photo(tmp_path / "images/train/a.jpg", (12, 16))
    write_image(tmp_path / "targets/train/a.png", 255 * MASKS[0])
    assert np.array_equal(target(tmp_path), MASKS[:1])


def test_unknown_pixels_and_own_numbers(tmp_path):
    masks = np.where(MASKS, 7, 0).astype(np.uint8)
    masks[0, :2], masks[1, 3] = 128, 100
    build(tmp_path, masks, positive=7, invalid=[128, 100])
    expected = MASKS.astype(np.float32)
    expected[0, :2], expected[1, 3] = np.nan, np.nan
    assert np.array_equal(target(tmp_path), expected, equal_nan=True)


def test_lists(tmp_path):
    folder = build(tmp_path)
    for name in NAMES:
        (folder / name).rename(tmp_path / "targets" / name)
    folder.rmdir()
    (tmp_path / "images/train/a.jpg").rename(tmp_path / "images/a.jpg")
    (tmp_path / "images/train").rmdir()
    (tmp_path / "train.txt").write_text("a\n")
    assert np.array_equal(target(tmp_path), MASKS)


def test_other_folders_are_ignored(tmp_path):
    (build(tmp_path) / "sky").mkdir()
    assert ValueFolder(tmp_path, "train").left_out == "in targets/train: folders that are not named like a label (sky)"


def refused(root: Path) -> str:
    with pytest.raises(DataError) as error:
        ValueFolder(root, "train")
    return str(error.value)


def test_gray_values_are_refused(tmp_path):
    masks = 255 * MASKS
    masks[1, 4, 5:7] = 37
    folder = build(tmp_path, masks)
    message = refused(tmp_path)
    assert message.startswith(f"{folder / 'wet/a.png'}: 2 numbers, such as 37, are neither 0") and "`positive`" in message


def test_missing_files_and_folders_are_refused(tmp_path):
    folder = build(tmp_path)
    (folder / "wet/a.png").unlink()
    assert f"no target of that name in {folder / 'wet'}" in refused(tmp_path)
    (folder / "wet").rmdir()
    assert "contains no folder 'targets/train/wet'" in refused(tmp_path)


def test_other_sizes_are_refused(tmp_path):
    folder = build(tmp_path)
    write_image(folder / "wet/a.png", MASKS[1, :6])
    assert f"{folder / 'wet/a.png'}: has 16x6 pixels in 1 channels, but {folder / 'road/a.png'} 16x12" in refused(tmp_path)
    for name in NAMES:
        write_image(folder / name / "a.png", MASKS[1, :6])
    with pytest.raises(DataError, match="must be equal"):
        ValueFolder(tmp_path, "train").read(0)


def test_one_mask_for_several_labels_is_refused(tmp_path):
    folder = build(tmp_path)
    for name in NAMES:
        (folder / name / "a.png").rename(folder / "a.png")
        (folder / name).rmdir()
    assert "has 1 channels, but" in refused(tmp_path) and "names 2 labels (road, wet)" in refused(tmp_path)
    Image.fromarray(np.zeros((12, 16, 3), np.uint8) + np.arange(3, dtype=np.uint8)).save(folder / "a.png")
    assert "is in color" in refused(tmp_path)


@pytest.mark.parametrize(
    "keys, named",
    [
        ({"unit": "m"}, "unit: is not for `kind: labels`"), ({"divisor": 255}, "divisor: is not"), ({"range": [0, 1]}, "range"),
        ({"positive": []}, "positive"), ({"positive": 0}, "positive: is"), ({"positive": "x"}, "positive: 'x' is not a number"),
        ({"invalid": 0}, "0 means that a pixel does not have the label"), ({"positive": 3, "invalid": 3}, "each only once"),
        ({"names": ["a/b"]}, "names has 'a/b'"), ({"names": ["Road", "road"]}, "more than case"), ({"names": [".a"]}, "dot"),
        ({"kind": "other", "positive": 1}, "positive: is not for `kind: other`"),
        ({"swapped": [["road", "sky"]]}, "pairs of names"),
    ],
)  # fmt: skip
def test_contradicting_values_file_is_refused(tmp_path, keys, named):
    write_values(tmp_path, **keys)
    with pytest.raises(DataError, match=named) as error:
        ValueFolder.values_of(tmp_path)
    assert "values.yaml" in str(error.value)
