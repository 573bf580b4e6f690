"""NYU Depth v2: what is read of its files and kept in the cache, and what is said about a copy that is not in order."""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from helpers.layouts import nyudv2 as layout
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets import cache
from refinenet_pl.datasets.nyud import NYUDv2
from refinenet_pl.errors import DataError

SPLITS = {"train": layout.TRAIN, "test": layout.TEST}
LABELLED, NUMBERS, MAPPING = "nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nyudv2")
    layout.build(folder)
    return folder


@pytest.fixture
def root(built, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(built, tmp_path / "nyudv2")


def mask_of(number: int, height: int = layout.HEIGHT, width: int = layout.WIDTH) -> np.ndarray:
    classes = layout.classes_of(number, height, width)
    return np.where(classes == 0, 255, classes - 1)


def refusal_to_open(root: Path, split: str = "train", **options) -> str:
    with pytest.raises(DataError) as refused:
        NYUDv2(root, split, **options)
    return str(refused.value)


def refusal_to_read(dataset: NYUDv2) -> str:
    with pytest.raises(DataError) as refused:
        dataset[0]
    return str(refused.value)


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """What would change if a file were written again; without the locks."""
    files = {path: path.stat() for path in folder.rglob("*.png")}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in files.items()}


def change_labelled(root: Path, **arrays: np.ndarray) -> None:
    with h5py.File(root / LABELLED, "r+") as file:
        for name, array in arrays.items():
            del file[name]
            file[name] = array


def change_numbers(root: Path, numbers: np.ndarray, split: str = "train") -> None:
    content = {f"{name}Ndxs": np.array(values)[:, None] for name, values in SPLITS.items()}
    scipy.io.savemat(root / NUMBERS, content | {f"{split}Ndxs": numbers})


@pytest.mark.parametrize("split", SPLITS)
def test_samples_come_in_the_order_of_the_list_with_exact_pixels(root, split):
    dataset = NYUDv2(root, split)
    assert len(dataset) == len(SPLITS[split])
    for index, number in enumerate(SPLITS[split]):
        sample = dataset[index]
        assert sample["name"] == f"{number:04}"
        assert np.array_equal(sample["image"].numpy(), layout.picture_of(number).transpose(2, 0, 1))
        assert np.array_equal(sample["mask"].numpy(), mask_of(number))


def test_copy_holds_all_classes_and_void():
    assert set(np.unique(mask_of(3))) == {*range(40), 255}


def test_names_colours_and_sizes():
    assert NYUDv2.classes.names == layout.CLASS_NAMES
    assert NYUDv2.classes.palette[:3] == ((128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert NYUDv2.classes.palette[39] == (64, 0, 64)
    assert NYUDv2.split_sizes == {"train": 795, "test": 654}
    assert (NYUDv2.void_channel, NYUDv2.short_edge) == ("last", (450, 800))


def test_batches(root):
    data = SegmentationDataModule(
        dataset="nyudv2", root=str(root), val_split="test", global_batch=2, crop_size=(40, 40), num_workers=0
    )
    data.setup("fit")
    train, val = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
    assert train["image"].shape == (2, 3, 40, 40) and train["mask"].dtype == torch.int64
    assert set(train["mask"].unique().tolist()) <= {*range(40), 255}
    assert np.array_equal(val["mask"][0].numpy(), mask_of(layout.TEST[0]))


class TestCrop:
    @pytest.mark.parametrize(("crop", "part"), [("border", np.s_[6:474, 7:632]), ("valid", np.s_[44:471, 40:601])])
    def test_cuts_images_and_masks(self, root, crop, part):
        layout.write_labelled(root / LABELLED, 480, 640)
        number = layout.TEST[1]
        assert NYUDv2(root, "test").read(1)[1].shape == (480, 640)
        image, mask = NYUDv2(root, "test", crop=crop).read(1)
        assert np.array_equal(image, layout.picture_of(number, 480, 640)[part])
        assert np.array_equal(mask, mask_of(number, 480, 640)[part])
        assert mask.shape == {"border": (468, 625), "valid": (427, 561)}[crop]

    @pytest.mark.parametrize("crop", ["border", "valid"])
    def test_of_images_of_another_size_is_unknown(self, root, crop):
        message = refusal_to_read(NYUDv2(root, "test", crop=crop))
        assert "0002.png" in message and f"crop: {crop} is for images of 640x480" in message and "80x60" in message

    @pytest.mark.parametrize("crop", ["white", True, False, "", [468, 625]])
    def test_that_does_not_exist(self, root, crop):
        message = refusal_to_open(root, crop=crop)
        assert repr(crop) in message and "border and valid" in message

    @pytest.mark.parametrize("former", [True, False])
    def test_former_option_says_what_to_write(self, root, former):
        message = refusal_to_open(root, crop_border=former)
        assert "crop_border is now called crop" in message and "crop: valid" in message and "crop: border" in message


class TestCache:
    def test_second_opening_converts_nothing(self, root):
        NYUDv2(root, "train")
        before = state(root)
        assert len(before) == 2 * len(layout.TRAIN)
        NYUDv2(root, "train")
        assert state(root) == before

    def test_second_opening_goes_without_the_large_files_labels(self, root):
        """Nothing but shapes is read of a file whose contents have been converted."""
        NYUDv2(root, "train")
        time = os.stat(root / LABELLED)
        with h5py.File(root / LABELLED, "r+") as file:
            file["labels"][:] = 60000
        os.utime(root / LABELLED, ns=(time.st_atime_ns, time.st_mtime_ns))
        assert np.array_equal(NYUDv2(root, "train").read(0)[1], mask_of(layout.TRAIN[0]))

    @pytest.mark.parametrize("kind", ["pictures", "masks"])
    def test_interrupted_conversion_goes_on(self, root, kind):
        NYUDv2(root, "train")
        before = state(root)
        lost = root / f"refinenet_pl_cache/nyudv2/{kind}/0005.png"
        half = lost.read_bytes()[:100]
        lost.unlink()
        lost.with_name(".0005.png.4711").write_bytes(half)
        sample = NYUDv2(root, "train")[layout.TRAIN.index(5)]
        assert np.array_equal(sample["image"].numpy(), layout.picture_of(5).transpose(2, 0, 1))
        assert np.array_equal(sample["mask"].numpy(), mask_of(5))
        after = state(root)
        assert {path for path in before if before[path] != after[path]} == {lost}

    def test_another_mapping_makes_new_masks_but_no_new_pictures(self, root):
        NYUDv2(root, "train")
        before = state(root)
        scipy.io.savemat(root / MAPPING, {"mapClass": (41 - layout.MAP_CLASS)[None]})
        later = os.stat(root / LABELLED).st_mtime + 10
        os.utime(root / MAPPING, (later, later))
        _, mask = NYUDv2(root, "train").read(0)
        expected = mask_of(layout.TRAIN[0])
        assert np.array_equal(mask, np.where(expected == 255, 255, 39 - expected))
        after = state(root)
        assert {path.parent.name for path in before if before[path] != after[path]} == {"masks"}

    def test_many_files_by_several_processes(self, root, monkeypatch):
        monkeypatch.setattr(cache, "FEW", 0)
        image, mask = NYUDv2(root, "train").read(2)
        assert np.array_equal(image, layout.picture_of(layout.TRAIN[2]))
        assert np.array_equal(mask, mask_of(layout.TRAIN[2]))

    def test_lies_elsewhere_on_demand(self, root, tmp_path):
        dataset = NYUDv2(root, "test", cache=str(tmp_path / "elsewhere"))
        assert np.array_equal(dataset.read(0)[1], mask_of(layout.TEST[0]))
        assert len(state(tmp_path / "elsewhere")) == 2 * len(layout.TEST) and state(root) == {}

    @pytest.mark.parametrize("kind", ["pictures", "masks"])
    def test_file_lost_after_opening(self, root, kind):
        dataset = NYUDv2(root, "train")
        lost = root / f"refinenet_pl_cache/nyudv2/{kind}/0003.png"
        lost.unlink()
        message = refusal_to_read(dataset)
        assert str(lost) in message and "no such file" in message

    def test_mask_of_another_size(self, root):
        dataset = NYUDv2(root, "train")
        masks = root / "refinenet_pl_cache/nyudv2/masks"
        Image.fromarray(np.zeros((60, 79), np.uint8)).save(masks / "0003.png")
        message = refusal_to_read(dataset)
        assert str(masks / "0003.png") in message and "79x60" in message and "80x60" in message


def test_missing_folder(tmp_path):
    message = refusal_to_open(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message and NYUDv2.source in message


def test_folder_of_something_else(tmp_path):
    message = refusal_to_open(tmp_path)
    assert str(tmp_path / LABELLED) in message and "no such file" in message


def test_unknown_split(root):
    assert "'val'" in refusal_to_open(root, "val")


@pytest.mark.parametrize("name", [LABELLED, NUMBERS, MAPPING])
def test_missing_file(root, name):
    (root / name).unlink()
    message = refusal_to_open(root)
    assert str(root / name) in message and "no such file" in message


@pytest.mark.parametrize(
    ("name", "size"),
    [(LABELLED, 0), (LABELLED, 100), (LABELLED, 100_000), (NUMBERS, 0), (NUMBERS, 100), (NUMBERS, 180)]
    + [(MAPPING, 0), (MAPPING, 100), (MAPPING, 1000)],
)
def test_truncated_file(root, name, size):
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[:size])
    message = refusal_to_open(root)
    assert str(root / name) in message and "Copy it anew" in message


@pytest.mark.parametrize("variable", ["images", "labels"])
def test_missing_array(root, variable):
    with h5py.File(root / LABELLED, "r+") as file:
        del file[variable]
    message = refusal_to_open(root)
    assert str(root / LABELLED) in message and variable in message


@pytest.mark.parametrize(("name", "variable"), [(NUMBERS, "trainNdxs"), (MAPPING, "mapClass")])
def test_missing_variable(root, name, variable):
    scipy.io.savemat(root / name, {"other": np.ones((3, 1))})
    message = refusal_to_open(root)
    assert str(root / name) in message and variable in message


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((7, 60, 80, 3), np.uint8)},
        {"images": np.zeros((7, 3, 80, 60), np.float32)},
        {"images": np.zeros((7, 80, 60), np.uint8)},
        {"images": np.zeros((6, 3, 80, 60), np.uint8)},
        {"labels": np.zeros((7, 60, 80), np.uint16)},
        {"labels": np.zeros((6, 80, 60), np.uint16)},
        {"labels": np.zeros((7, 80, 60), np.float64)},
        {"labels": np.zeros((7, 80, 60), np.int16)},
    ],
    ids=["axes", "images of floats", "no colours", "a picture less", "label axes", "a mask less", "float", "signed"],
)
def test_arrays_of_another_kind(root, arrays):
    change_labelled(root, **arrays)
    message = refusal_to_open(root)
    assert str(root / LABELLED) in message and str(next(iter(arrays.values())).shape) in message


@pytest.mark.parametrize("wrong", [[[3], [0]], [[3], [8]], [[3], [3]], [[3], [2.5]], [[3, 1], [2, 4]], [["one"], ["two"]]])
def test_numbers_that_are_none_of_the_pictures(root, wrong):
    change_numbers(root, np.array(wrong))
    message = refusal_to_open(root)
    assert str(root / NUMBERS) in message and "trainNdxs" in message and "1..7" in message


def test_one_number(root):
    change_numbers(root, np.array([[7]], np.uint16))
    dataset = NYUDv2(root, "train")
    assert [sample.name for sample in dataset.samples] == ["0007"]


@pytest.mark.parametrize(
    "mapping",
    [layout.MAP_CLASS[:893], np.append(layout.MAP_CLASS, 1), layout.MAP_CLASS - 1, layout.MAP_CLASS + 1],
    ids=["short", "long", "from 0", "to 41"],
)
def test_mapping_of_another_kind(root, mapping):
    scipy.io.savemat(root / MAPPING, {"mapClass": mapping[None].astype(np.uint8)})
    message = refusal_to_open(root)
    assert str(root / MAPPING) in message and "894 numbers within 1..40" in message


def test_label_outside_the_mapping(root):
    with h5py.File(root / LABELLED, "r+") as file:
        file["labels"][4, 10, 20] = 895
    message = refusal_to_open(root)
    assert f"{root / LABELLED}: labels(:, :, 5)" in message and "values 895 in 1 pixels" in message


def test_file_of_another_version(root):
    shutil.copy(root / LABELLED, root / MAPPING)
    message = refusal_to_open(root)
    assert str(root / MAPPING) in message and "MATLAB 7.3" in message
