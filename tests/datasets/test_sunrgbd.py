"""SUN RGB-D: what is found through the toolbox's files, and what is said about a copy that is not as it should be."""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from helpers.layouts import sunrgbd as layout
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets import cache
from refinenet_pl.datasets.nyud import NYUDv2
from refinenet_pl.datasets.sunrgbd import SUNRGBD
from refinenet_pl.errors import DataError

SPLITS = {"train": layout.TRAIN, "test": layout.TEST}
LIST = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
METADATA = "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat"
MASKS = "SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat"
FOLDERS = [folder for folder, _, _ in layout.SAMPLES]
PATHS = [f"{layout.AUTHORS_DISK}/{folder}/image/{picture}" for folder, picture, _ in layout.SAMPLES]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sunrgbd")
    layout.build(folder)
    return folder


@pytest.fixture
def root(built, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(built, tmp_path / "sunrgbd")


def picture_of(root: Path, index: int) -> np.ndarray:
    folder, picture, _ = layout.SAMPLES[index]
    return np.array(Image.open(root / "SUNRGBD" / folder / "image" / picture))


def mask_of(index: int) -> np.ndarray:
    labels = layout.mask_of(index).astype(int)
    return np.where(labels == 0, 255, labels - 1)


def refusal_to_open(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as refused:
        SUNRGBD(root, split)
    return str(refused.value)


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """What would change if a mask were written again."""
    files = {path: path.stat() for path in folder.rglob("*.png")}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in files.items()}


@pytest.mark.parametrize("split", SPLITS)
def test_samples_come_in_the_order_of_the_list_with_exact_pixels(root, split):
    dataset = SUNRGBD(root, split)
    assert len(dataset) == len(SPLITS[split])
    for index, number in enumerate(SPLITS[split]):
        sample = dataset[index]
        assert sample["name"] == FOLDERS[number].replace("/", "-")
        assert np.array_equal(sample["image"].numpy(), picture_of(root, number).transpose(2, 0, 1))
        assert np.array_equal(sample["mask"].numpy(), mask_of(number))


def test_copy_holds_all_classes_void_and_several_sizes(root):
    assert set(np.unique(mask_of(0))) == {*range(37), 255}
    assert len({SUNRGBD(root, "train").read(index)[1].shape for index in range(3)}) == 3


def test_names_colours_and_sizes():
    assert SUNRGBD.classes.names == NYUDv2.classes.names[:37] and SUNRGBD.classes.names[36] == "bag"
    assert SUNRGBD.classes.palette[0] == (128, 0, 0) and len(SUNRGBD.classes.palette) == 37
    assert SUNRGBD.split_sizes == {"train": 5285, "test": 5050}
    assert (SUNRGBD.void_channel, SUNRGBD.short_edge) == ("first", (450, 800))


def test_batches(root):
    data = SegmentationDataModule(
        dataset="sunrgbd", root=str(root), val_split="test", global_batch=2, crop_size=(40, 40), num_workers=0
    )
    data.setup("fit")
    train, val = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
    assert train["image"].shape == (2, 3, 40, 40) and train["mask"].dtype == torch.int64
    assert set(train["mask"].unique().tolist()) <= {*range(37), 255}
    assert np.array_equal(val["mask"][0].numpy(), mask_of(layout.TEST[0]))


class TestCache:
    def test_second_opening_converts_nothing(self, root):
        SUNRGBD(root, "train")
        before = state(root)
        assert len(before) == len(layout.TRAIN)
        SUNRGBD(root, "train")
        assert state(root) == before

    def test_interrupted_conversion_goes_on(self, root):
        SUNRGBD(root, "train")
        before = state(root)
        lost = root / "refinenet_pl_cache/sunrgbd" / (FOLDERS[0].replace("/", "-") + ".png")
        half = lost.read_bytes()[:100]
        lost.unlink()
        lost.with_name(f".{lost.name}.4711").write_bytes(half)
        dataset = SUNRGBD(root, "train")
        assert np.array_equal(dataset.read(layout.TRAIN.index(0))[1], mask_of(0))
        after = state(root)
        assert {path for path in before if before[path] != after[path]} == {lost}

    def test_other_metadata_makes_new_masks(self, root):
        """Masks go by the metadata's order."""
        SUNRGBD(root, "train")
        swapped = [PATHS[2], *PATHS[1:2], PATHS[0], *PATHS[3:]]
        layout.write_metadata(root, swapped)
        later = os.stat(root / MASKS).st_mtime + 10
        os.utime(root / METADATA, (later, later))
        assert np.array_equal(SUNRGBD(root, "train").read(layout.TRAIN.index(0))[1], mask_of(2))

    def test_many_files_by_several_processes(self, root, monkeypatch):
        monkeypatch.setattr(cache, "FEW", 0)
        assert np.array_equal(SUNRGBD(root, "train").read(2)[1], mask_of(layout.TRAIN[2]))

    def test_lies_elsewhere_on_demand(self, root, tmp_path):
        dataset = SUNRGBD(root, "test", cache=str(tmp_path / "elsewhere"))
        assert np.array_equal(dataset.read(0)[1], mask_of(layout.TEST[0]))
        assert len(state(tmp_path / "elsewhere")) == len(layout.TEST) and state(root) == {}

    def test_mask_lost_after_opening(self, root):
        dataset = SUNRGBD(root, "train")
        dataset.samples[0].mask.unlink()
        with pytest.raises(DataError, match="no such file") as refused:
            dataset[0]
        assert str(dataset.samples[0].mask) in str(refused.value)


def test_slashes_too_many_do_not_matter(root):
    layout.write_split(root, [f"{layout.AUTHORS_DISK}/{FOLDERS[index]}/" for index in layout.TRAIN])
    layout.write_metadata(root, [path.replace("/image/", "//image/") for path in PATHS])
    dataset = SUNRGBD(root, "train")
    assert [sample.name for sample in dataset.samples] == [FOLDERS[index].replace("/", "-") for index in layout.TRAIN]
    assert np.array_equal(dataset.read(0)[1], mask_of(layout.TRAIN[0]))


def test_one_sample(root):
    layout.write_split(root, [f"{layout.AUTHORS_DISK}/{FOLDERS[3]}"])
    dataset = SUNRGBD(root, "train")
    assert len(dataset) == 1 and np.array_equal(dataset.read(0)[1], mask_of(3))


def test_missing_folder(tmp_path):
    message = refusal_to_open(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message and SUNRGBD.source in message


@pytest.mark.parametrize("name", ["SUNRGBD", "SUNRGBDtoolbox"])
def test_missing_archive(root, name):
    shutil.rmtree(root / name)
    message = refusal_to_open(root)
    assert str(root) in message and repr(name) in message and SUNRGBD.source in message


def test_unknown_split(root):
    assert "'val'" in refusal_to_open(root, "val")


@pytest.mark.parametrize("name", [LIST, METADATA, MASKS])
def test_missing_file(root, name):
    (root / name).unlink()
    message = refusal_to_open(root)
    assert str(root / name) in message and "no such file" in message


@pytest.mark.parametrize(
    ("name", "size"),
    [(LIST, 0), (LIST, 100), (LIST, 400), (METADATA, 0), (METADATA, 100), (METADATA, 600)]
    + [(MASKS, 0), (MASKS, 100), (MASKS, 50_000)],
)
def test_truncated_file(root, name, size):
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[:size])
    message = refusal_to_open(root)
    assert str(root / name) in message and "Copy it anew" in message


@pytest.mark.parametrize(("name", "variable"), [(LIST, "alltrain"), (METADATA, "SUNRGBDMeta")])
def test_missing_variable(root, name, variable):
    scipy.io.savemat(root / name, {"other": np.ones((3, 1))})
    message = refusal_to_open(root)
    assert str(root / name) in message and variable in message


def test_metadata_without_paths(root):
    scipy.io.savemat(root / METADATA, {"SUNRGBDMeta": {"rgbname": "a.jpg"}})
    message = refusal_to_open(root)
    assert str(root / METADATA) in message and "rgbpath" in message


def test_masks_missing_from_their_file(root):
    with h5py.File(root / MASKS, "r+") as file:
        del file["SUNRGBD2Dseg/seglabel"]
    message = refusal_to_open(root)
    assert str(root / MASKS) in message and "seglabel" in message


@pytest.mark.parametrize("count", [5, 7])
def test_another_number_of_masks(root, count):
    layout.write_masks(root, [layout.mask_of(0)] * count)
    message = refusal_to_open(root)
    assert str(root / MASKS) in message and f"({count}, 1)" in message and "6 samples" in message


@pytest.mark.parametrize(
    "path", ["/home/me/SUNRGBD/kv1/NYUdata/NYU0001", "kv1/NYUdata/NYU0001", 17.0], ids=["elsewhere", "relative", "number"]
)
def test_list_of_other_paths(root, path):
    layout.write_split(root, [f"{layout.AUTHORS_DISK}/{FOLDERS[0]}", path])
    message = refusal_to_open(root)
    assert str(root / LIST) in message and repr(path) in message and layout.AUTHORS_DISK in message


def test_folder_that_the_metadata_does_not_know(root):
    layout.write_split(root, [f"{layout.AUTHORS_DISK}/kv1/NYUdata/NYU9999"])
    message = refusal_to_open(root)
    assert str(root / LIST) in message and "NYU9999" in message and str(root / METADATA) in message


def test_folder_that_is_listed_twice(root):
    layout.write_split(root, [f"{layout.AUTHORS_DISK}/{FOLDERS[index]}" for index in (0, 3, 0)])
    message = refusal_to_open(root)
    assert str(root / LIST) in message and "twice" in message


def test_missing_picture(root):
    picture = root / "SUNRGBD" / FOLDERS[0] / "image" / layout.SAMPLES[0][1]
    picture.unlink()
    message = refusal_to_open(root)
    assert str(picture) in message and "missing" in message


def test_label_outside_the_classes(root):
    masks = [layout.mask_of(index) for index in range(len(FOLDERS))]
    masks[4][3, 5] = 38
    layout.write_masks(root, masks)
    message = refusal_to_open(root)
    assert f"{root / MASKS}: SUNRGBD2Dseg(5).seglabel" in message and "values 38 in 1 pixels" in message


@pytest.mark.parametrize(
    "mask",
    [np.zeros((60, 80), np.float64), np.full((60, 80), -1, np.int16), np.zeros(2, np.uint64)],
    ids=["float", "negative", "no"],
)
def test_mask_of_another_kind(root, mask):
    masks = [layout.mask_of(index) for index in range(len(FOLDERS))]
    masks[4] = mask
    layout.write_masks(root, masks)
    message = refusal_to_open(root)
    assert f"{root / MASKS}: SUNRGBD2Dseg(5).seglabel" in message and str(mask.dtype) in message


def test_mask_of_another_size(root):
    masks = [layout.mask_of(index) for index in range(len(FOLDERS))]
    masks[4] = masks[4].T
    layout.write_masks(root, masks)
    with pytest.raises(DataError) as refused:
        SUNRGBD(root, "train")[layout.TRAIN.index(4)]
    assert "64x72" in str(refused.value) and "72x64" in str(refused.value)
    assert layout.SAMPLES[4][1] in str(refused.value)
