"""Custom datasets of continuous values."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.layouts.files import write_image, write_photo
from PIL import Image

from refinenet_pl.datasets.registry import find_value_dataset
from refinenet_pl.datasets.value_folder import ValueFolder
from refinenet_pl.errors import DataError

DEPTH = {"kind": "depth", "unit": "m", "divisor": 1000, "invalid": 0, "range": [0.1, 20]}
STORED = np.random.default_rng(0).integers(500, 9000, (12, 16)).astype(np.uint16)


def write_values(root: Path, **keys: object) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "values.yaml").write_text(yaml.safe_dump(keys))


def build(root: Path, name: str = "one.png", array: np.ndarray = STORED, split: str = "train", **keys: object) -> Path:
    """Write a dataset of one image and return its target's file."""
    write_values(root, **(keys or DEPTH))
    target = root / "targets" / split / name
    write_photo(root / "images" / split / f"{Path(name).stem}.jpg", array.shape[:2])
    if target.suffix == ".npy":
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, array)
    else:
        write_image(target, array)
    return target


@pytest.mark.parametrize(
    "name, array", [("a.png", STORED), ("a.tif", STORED.astype(np.float32)), ("a.npy", STORED), ("a.npy", STORED[..., None])]
)
def test_depth_in_any_format(tmp_path, name, array):
    stored = array.copy()
    stored[:3, :4] = 0
    build(tmp_path, name, stored)
    assert find_value_dataset("value_folder") is ValueFolder and ValueFolder.values_of(tmp_path).unit == "m"
    dataset = ValueFolder(tmp_path, "train")
    image, target = dataset.read(0)
    assert image.shape == (12, 16, 3) and target.dtype == np.float32 and dataset.name(0) == "a"
    assert np.isnan(target[:3, :4]).all() and np.isnan(target).sum() == 12
    assert np.allclose(target[3:, :, 0], STORED[3:] / 1000)


def test_normals_stored_as_colors(tmp_path):
    colors = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    colors[0, 0] = 127
    colors[0, 1, 0] = 127  # one channel alone does not make a normal unknown
    build(tmp_path, "a.png", colors, kind="normals", divisor=127.5, offset=-1, invalid=[127])
    target = ValueFolder(tmp_path, "train").read(0)[1]
    assert np.isnan(target[0, 0]).all() and np.isnan(target).sum() == 3
    assert np.allclose(target[1:], colors[1:] / 127.5 - 1, atol=1e-6)


def test_keypoints_swap(tmp_path):
    heat = np.zeros((12, 16, 3), np.float32)
    keys = {"names": ["nose", "left", "right"], "kind": "heatmap", "swapped": [["left", "right"]], "range": [0, 1]}
    build(tmp_path, "a.npy", heat, **keys)
    assert ValueFolder(tmp_path, "train").values.swapped == ((1, 2),)


def test_lists_and_ignored_files(tmp_path):
    build(tmp_path, split="train")
    for kind in "images", "targets":
        for file in (tmp_path / kind / "train").iterdir():
            file.rename(tmp_path / kind / file.name)
        (tmp_path / kind / "train").rmdir()
    (tmp_path / "val.txt").write_text("one\n")
    (tmp_path / "targets" / "notes.txt").write_text("x")
    dataset = ValueFolder(tmp_path, "val")
    assert len(dataset) == 1 and "targets" in dataset.left_out


@pytest.mark.parametrize(
    "array, keys, named",
    [
        (STORED, DEPTH | {"divisor": 1}, "range|millimeters"),
        (STORED, {"kind": "depth", "unit": "m"}, "divisor: 1000"),
        (np.zeros_like(STORED), DEPTH, "invalid"),
        (np.zeros_like(STORED), DEPTH | {"invalid": []}, "0 or negative"),
        (np.zeros((12, 16, 3), np.uint8), DEPTH, "3 channels"),
        (STORED, DEPTH | {"range": [5, 6]}, "range"),
    ],
)
def test_implausible_targets_are_refused(tmp_path, array, keys, named):
    build(tmp_path, array=array, **keys)
    with pytest.raises(DataError, match=named) as error:
        ValueFolder(tmp_path, "train")
    assert "values.yaml" in str(error.value)


@pytest.mark.parametrize("array", [np.full((12, 16), np.inf), -np.ones((12, 16))], ids=["infinite", "negative"])
def test_impossible_depths_are_refused(tmp_path, array):
    target = build(tmp_path, "one.npy", array, kind="depth")
    with pytest.raises(DataError, match=target.name):
        ValueFolder(tmp_path, "train")


@pytest.mark.parametrize(
    "keys, named",
    [
        ({"kind": "depth", "unit": "cm", "divisor": 1}, "unit: m, divisor: 100"),
        ({"kind": "depth", "unit": "inches"}, "unit: is 'inches'"),
        ({"kind": "normals", "unit": "m"}, "normals have no unit"),
        ({"kind": "distance"}, "kind"), ({"depth": 1}, "unknown key depth"), ({"divisor": 0}, "divisor"),
        ({"divisor": "mm"}, "divisor"), ({"kind": "other"}, "names"), ({"names": "depth"}, "names"),
        ({"names": ["a", "a"]}, "names"), ({"range": [3]}, "range"),
        ({"range": [3, 1], "names": ["a"]}, "range"), ({"invalid": "x"}, "invalid"), ({"offset": True}, "offset"),
        ({"names": ["a", "b"], "swapped": [["a", "c"]]}, "swapped"), ({"names": ["a"], "kind": "normals"}, "normals"),
    ],
)  # fmt: skip
def test_contradicting_values_file_is_refused(tmp_path, keys, named):
    write_values(tmp_path, **({"kind": "depth"} | keys))
    with pytest.raises(DataError, match=named) as error:
        ValueFolder.values_of(tmp_path)
    assert "values.yaml" in str(error.value)


@pytest.mark.parametrize(
    "content, named",
    [(b"", "one.npy"), (b"\x93NUMPY\x01\x00v\x00", "one.npy"), (b"text", "one.npy")],
    ids=["empty", "cut", "text"],
)
def test_damaged_arrays_are_refused(tmp_path, content, named):
    build(tmp_path, "one.npy").write_bytes(content)
    with pytest.raises(DataError, match=named):
        ValueFolder(tmp_path, "train")


def test_pickles_are_not_executed(tmp_path):
    target = build(tmp_path, "one.npy")
    np.save(target, np.array([[print]], object), allow_pickle=True)
    with pytest.raises(DataError, match="one.npy"):
        ValueFolder(tmp_path, "train")


def test_other_sizes_and_missing_files_are_refused(tmp_path):
    target = build(tmp_path)
    write_image(target, STORED[:6])
    with pytest.raises(DataError, match="must be equal"):
        ValueFolder(tmp_path, "train").read(0)
    target.rename(target.with_suffix(".jpg"))
    with pytest.raises(DataError, match="JPEG"):
        ValueFolder(tmp_path, "train")
    target.with_suffix(".jpg").unlink()
    with pytest.raises(DataError, match="no target of that name"):
        ValueFolder(tmp_path, "train")
    (tmp_path / "values.yaml").unlink()
    with pytest.raises(DataError, match="no such file"):
        ValueFolder(tmp_path, "train")


def test_official_depths(official_root, tmp_path):
    """Depths of NYUDv2 in millimeters, as the ports distribute them."""
    write_values(tmp_path, **DEPTH)
    depths = sorted((official_root / "nyudv2" / "depth").glob("*.png"))
    for depth in depths:
        for kind, source in ("targets", depth), ("images", official_root / "nyudv2" / "color" / f"{int(depth.stem):04}.png"):
            (tmp_path / kind / "train").mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tmp_path / kind / "train" / f"{int(depth.stem):04}.png")
    dataset = ValueFolder(tmp_path, "train")
    assert len(dataset) == len(depths) > 10
    image, target = dataset.read(0)
    assert image.shape[:2] == target.shape[:2] == (480, 640)
    assert np.array_equal(target[..., 0], np.asarray(Image.open(depths[0])).astype(np.float32) / np.float32(1000))
