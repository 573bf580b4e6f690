"""Depths of NYU Depth v2."""

import h5py
import numpy as np
import pytest
from helpers.layouts import nyudv2

from refinenet_pl.datasets.nyud_depth import NYUDv2Depth
from refinenet_pl.datasets.registry import find_value_dataset
from refinenet_pl.errors import DataError


@pytest.fixture
def root(tmp_path):
    nyudv2.build(tmp_path)
    return tmp_path


@pytest.mark.parametrize("split", ["train", "test"])
def test_samples(root, split):
    assert find_value_dataset("nyudv2_depth") is NYUDv2Depth
    dataset = NYUDv2Depth(root, split)
    assert [dataset.name(index) for index in range(len(dataset))] == nyudv2.SPLITS[split]
    for index, name in enumerate(nyudv2.SPLITS[split]):
        image, target = dataset.read(index)
        assert np.array_equal(image, nyudv2.image_of(name))
        assert np.array_equal(target[..., 0], nyudv2.depth_of(name)) and target.dtype == np.float32
    sample = dataset[0]
    assert sample["target"].shape == (1, nyudv2.HEIGHT, nyudv2.WIDTH)


def test_depth_of_zero_is_unknown(root):
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "r+") as file:
        file["depths"][2, :5, :4] = 0
    _, target = NYUDv2Depth(root, "train").read(0)
    assert np.isnan(target[:4, :5, 0]).all() and np.isnan(target).sum() == 20


@pytest.mark.parametrize("crop, shape", [("border", (468, 625)), ("valid", (427, 561)), (None, (480, 640))])
def test_crop(root, crop, shape):
    nyudv2.write_labeled(root / "nyu_depth_v2_labeled.mat", 480, 640)
    image, target = NYUDv2Depth(root, "test", crop=crop).read(0)
    assert image.shape == (*shape, 3) and target.shape == (*shape, 1)


def test_wrong_files_are_refused(root):
    with pytest.raises(DataError, match="crop 'eigen'"):
        NYUDv2Depth(root, "train", crop="eigen")
    with pytest.raises(DataError, match="missing: no such folder"):
        NYUDv2Depth(root / "missing", "train")
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "r+") as file:
        file["depths"][2, 0, 0] = 9000  # in millimeters
    with pytest.raises(DataError, match="0003.npy: 1 depths are outside"):
        NYUDv2Depth(root, "train").read(0)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "r+") as file:
        del file["depths"]
        file["depths"] = np.zeros((3, 4))
    with pytest.raises(DataError, match=r"nyu_depth_v2_labeled.mat: expected .* depths .* found"):
        NYUDv2Depth(root, "train")
