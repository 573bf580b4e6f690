"""Counts of classes in each image, and their cache."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.layouts import folder as layout
from helpers.layouts import nyudv2
from PIL import Image

from refinenet_pl.datasets import class_counts as module
from refinenet_pl.datasets.class_counts import class_counts
from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.nyud import NYUDv2
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import DataError

MASK = "masks/train/a.png"


@pytest.fixture
def root(tmp_path) -> Path:
    layout.build(tmp_path)
    return tmp_path


def expected(dataset: Folder | Scenes | NYUDv2) -> np.ndarray:
    masks = [dataset.read(index)[1] for index in range(len(dataset))]
    return np.array([[(mask == label).sum() for label in range(len(dataset.classes))] for mask in masks])


def cached(root: Path) -> list[Path]:
    return sorted((root / "refinenet_pl_cache").rglob("*.npy"))


def blacken(root: Path, name: str = MASK, value: int = 0) -> None:
    """Set a whole mask to one value, without changing its time."""
    times = (root / name).stat()
    with Image.open(root / name) as image:
        Image.new("L", image.size, value).save(root / name)
    os.utime(root / name, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_counts_on_disk_are_cached_until_a_mask_is_newer(root):
    before = expected(Folder(root, "train"))
    assert np.array_equal(class_counts(Folder(root, "train")), before) and before.dtype == np.int64
    (file,) = cached(root)
    blacken(root)
    assert np.array_equal(class_counts(Folder(root, "train")), before), "read from the cache"
    os.utime(root / MASK, (later := file.stat().st_mtime + 10, later))
    after = class_counts(Folder(root, "train"))
    assert np.array_equal(after, expected(Folder(root, "train"))) and sorted(after[0].tolist())[:3] == [0, 0, 0]


def test_other_images_and_classes_have_their_own_counts(root):
    class_counts(Folder(root, "train"))
    (root / MASK).unlink()
    (root / "images/train/a.png").unlink()
    assert len(class_counts(Folder(root, "train"))) == 3
    layout.write_classes(root, names=["background", "road", "car", "bush"])
    os.utime(root / "classes.yaml", (0, 0))
    assert len(class_counts(Folder(root, "train"))) == 3
    assert len(cached(root)) == 3


def test_folder_that_is_not_writable_is_read_each_time(root, monkeypatch):
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)
    assert np.array_equal(class_counts(Folder(root, "train")), expected(Folder(root, "train")))
    assert cached(root) == []


def test_wrong_label_is_named(root):
    dataset = Folder(root, "train")
    blacken(root, value=77)
    with pytest.raises(DataError, match=r"a\.png: values 77 in 4800 pixels"):
        class_counts(dataset)
    assert cached(root) == []


def test_masks_that_are_cropped_with_their_image(tmp_path):
    nyudv2.build(tmp_path)
    dataset = NYUDv2(tmp_path, "train", cache=str(tmp_path / "other"))
    assert np.array_equal(class_counts(dataset), expected(dataset))
    assert list((tmp_path / "other/class_counts").glob("train-*.npy"))


def test_rendered_images_in_several_processes(monkeypatch):
    dataset = Scenes(size=64, samples=6)
    assert np.array_equal(class_counts(dataset), expected(dataset))
    monkeypatch.setattr(module, "FEW", 3)
    monkeypatch.setattr(module, "cores", lambda: 2)
    assert np.array_equal(class_counts(dataset), expected(dataset))
