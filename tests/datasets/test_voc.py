"""PASCAL VOC 2012 and SBD: what is found through their lists, and what is said about a copy that is not as it should be."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from helpers.layouts import voc2012 as layout
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.classes import VOC_PALETTE
from refinenet_pl.datasets.voc import VOC2012, VOC_CLASSES
from refinenet_pl.errors import DataError

SPLITS = {
    "train": layout.TRAIN,
    "val": layout.VAL,
    "trainval": tuple(sorted(layout.TRAIN + layout.VAL)),
    "train_aug": layout.TRAIN_AUG,
}
VOC = Path("VOCdevkit/VOC2012")
SBD = Path("benchmark_RELEASE/dataset")
REAL = Path(os.environ.get("VOC2012_ROOT", "data/voc2012"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("voc")
    layout.build(folder)
    return folder


@pytest.fixture
def root(built, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(built, tmp_path / "voc")


def mask_of(name: str) -> np.ndarray:
    return layout.mask_of(name) if name in layout.TRAIN + layout.VAL else layout.sbd_mask_of(name)


def refusal_to_open(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as refused:
        VOC2012(root, split)
    return str(refused.value)


def refusal_to_read(root: Path, split: str = "train") -> str:
    """The message for the first sample, once its files have been spoilt."""
    dataset = VOC2012(root, split)
    with pytest.raises(DataError) as refused:
        dataset[0]
    return str(refused.value)


@pytest.mark.parametrize("split", SPLITS)
def test_samples_come_in_the_order_of_the_lists_with_exact_masks(root, split):
    dataset = VOC2012(root, split)
    assert [dataset.name(index) for index in range(len(dataset))] == list(SPLITS[split])
    for index, name in enumerate(SPLITS[split]):
        image, mask = dataset.read(index)
        assert np.array_equal(image, np.array(Image.open(root / VOC / "JPEGImages" / f"{name}.jpg")))
        assert np.array_equal(mask, mask_of(name))


def test_every_class_and_void_occur_in_the_tests():
    for names in layout.TRAIN, layout.VAL:
        assert set(np.unique([*np.concatenate([mask_of(name).ravel() for name in names])])) == {*range(21), 255}


def test_train_aug_has_no_picture_of_val_and_none_twice(root):
    samples = VOC2012(root, "train_aug").samples
    names = {sample.name for sample in samples}
    assert len(names) == len(samples)
    assert names == {*layout.TRAIN, *layout.SBD_TRAIN, *layout.SBD_VAL} - {*layout.VAL}


def test_pictures_of_train_keep_the_masks_of_voc_and_others_lie_with_sbd(root):
    for sample in VOC2012(root, "train_aug").samples:
        own = sample.name in layout.TRAIN
        assert sample.mask.parent == (root / VOC / "SegmentationClass" if own else root / "refinenet_pl_cache" / "sbd")
        assert sample.image.parent == root / (VOC / "JPEGImages" if own else SBD / "img")


def test_the_cache_lies_where_it_is_told_to(root, tmp_path):
    VOC2012(root, "train_aug", cache=str(tmp_path / "elsewhere"))
    assert sorted(path.stem for path in (tmp_path / "elsewhere").rglob("*.png")) == [
        "2008_000008",
        "2008_000015",
        "2008_000028",
    ]
    assert not (root / "refinenet_pl_cache").exists()


def test_a_younger_mat_file_is_converted_anew(root):
    VOC2012(root, "train_aug")
    file = root / SBD / "cls" / "2008_000015.mat"
    layout.write_sbd_mask(file, np.full(layout.SIZES["2008_000015"], 7, np.uint8))
    os.utime(file, (file.stat().st_mtime + 10,) * 2)
    assert set(np.unique(VOC2012(root, "train_aug").read(4)[1])) == {7}


@pytest.mark.parametrize("inner", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize("split", ["val", "train_aug"])
def test_root_may_be_one_of_the_unpacked_folders(root, inner, split):
    assert [sample.name for sample in VOC2012(root / inner, split).samples] == list(SPLITS[split])


def test_root_may_be_named_as_the_folder_that_it_holds(root):
    shutil.move(root / "VOCdevkit", root / "VOC2012" / "VOCdevkit")
    assert len(VOC2012(root / "VOC2012", "val")) == 3


def test_root_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root / VOC)
    assert len(VOC2012(tmp_path / "link", "val")) == 3


def test_a_folder_beside_the_development_kit_is_not_taken_for_it(root):
    (root / "other").mkdir()
    message = refusal_to_open(root / "other")
    assert str(root / "other") in message and "VOCdevkit/VOC2012" in message and VOC2012.source in message


def test_blank_lines_in_lists_do_not_count(root):
    for listing in root / VOC / "ImageSets/Segmentation/train.txt", root / SBD / "val.txt":
        listing.write_text("\n" + listing.read_text() + "  \n")
    assert [sample.name for sample in VOC2012(root, "train_aug").samples] == list(layout.TRAIN_AUG)


@pytest.mark.parametrize("listing", [VOC / "ImageSets/Segmentation/train.txt", SBD / "val.txt"])
def test_missing_and_unreadable_lists(root, listing):
    (root / listing).write_bytes(b"\xff\xfe\x00")
    message = refusal_to_open(root, "train_aug")
    assert str(root / listing) in message and "cannot be read" in message
    (root / listing).unlink()
    message = refusal_to_open(root, "train_aug")
    assert str(root / listing) in message and "no such file" in message


def test_empty_list(root):
    (root / VOC / "ImageSets/Segmentation/val.txt").write_text("\n")
    message = refusal_to_open(root, "val")
    assert str(root) in message and "names no pictures" in message


def test_missing_sbd(root):
    shutil.rmtree(root / "benchmark_RELEASE")
    assert len(VOC2012(root, "train")) == 2
    message = refusal_to_open(root, "train_aug")
    assert "benchmark_RELEASE/dataset" in message and VOC2012.source in message


@pytest.mark.parametrize(
    "gone",
    [
        VOC / "JPEGImages/2007_000032.jpg",
        VOC / "SegmentationClass/2007_000032.png",
        SBD / "img/2008_000015.jpg",
        SBD / "cls/2008_000015.mat",
    ],
)
def test_missing_file(root, gone):
    (root / gone).unlink()
    assert str(root / gone) in refusal_to_open(root, "train_aug")


def test_labels_of_the_test_split_are_not_public(root):
    message = refusal_to_open(root, "test")
    assert "not public" in message and "--submission" in message


def test_mask_saved_with_another_palette(root):
    path = root / VOC / "SegmentationClass/2007_000032.png"
    Image.open(path).convert("RGB").quantize(64).save(path)
    message = refusal_to_read(root)
    assert str(path) in message and "another palette" in message


def test_grey_mask_holds_ids(root):
    Image.fromarray(layout.mask_of("2007_000032")).save(root / VOC / "SegmentationClass/2007_000032.png")
    assert np.array_equal(VOC2012(root, "train").read(0)[1], layout.mask_of("2007_000032"))


def test_label_outside_the_classes(root):
    path = root / VOC / "SegmentationClass/2007_000032.png"
    layout.write_palette_mask(path, np.full(layout.SIZES["2007_000032"], 21, np.uint8))
    message = refusal_to_read(root)
    assert str(path) in message and "values 21" in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"GTinst": {"Segmentation": np.zeros((60, 80), np.uint8)}}, "GTcls"),
        ({"GTcls": {"Boundaries": np.zeros((60, 80), np.uint8)}}, "Segmentation"),
        ({"GTcls": np.zeros((60, 80), np.uint8)}, "Segmentation"),
        ({"GTcls": {"Segmentation": np.full((60, 80), 0.5)}}, "float64"),
        ({"GTcls": {"Segmentation": np.full((60, 80), -1, np.int16)}}, "integers from 0"),
        ({"GTcls": {"Segmentation": np.zeros((60, 80, 3), np.uint8)}}, "(60, 80, 3)"),
        ({"GTcls": {"Segmentation": np.full((60, 80), 21, np.uint8)}}, "values 21"),
    ],
)
def test_mat_file_that_is_not_sbds(root, content, problem):
    path = root / SBD / "cls/2008_000015.mat"
    scipy.io.savemat(path, content)
    message = refusal_to_open(root, "train_aug")
    assert str(path) in message and problem in message


def test_damaged_mat_file(root):
    path = root / SBD / "cls/2008_000015.mat"
    path.write_bytes(path.read_bytes()[:300])
    message = refusal_to_open(root, "train_aug")
    assert str(path) in message and "cannot be read" in message


def test_palette_is_that_of_the_development_kit():
    assert [value for colour in VOC_PALETTE for value in colour] == layout.color_map()
    colours = dict(zip(VOC_CLASSES, VOC2012.classes.palette, strict=True))
    assert colours["aeroplane"] == (128, 0, 0) and colours["person"] == (192, 128, 128)
    assert colours["tvmonitor"] == (0, 64, 128) and VOC_PALETTE[255] == (224, 224, 192)


def test_batches(root):
    module = SegmentationDataModule(
        "voc2012", str(root), train_split="train_aug", global_batch=2, crop_size=(48, 48), num_workers=0
    )
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert batch["image"].shape == (2, 3, 48, 48) and batch["mask"].shape == (2, 48, 48)
    batch = next(iter(module.val_dataloader()))
    assert torch.equal(batch["mask"][0], torch.from_numpy(layout.mask_of("2007_000033").astype(np.int64)))


@pytest.mark.skipif(not (REAL / VOC).is_dir(), reason=f"no VOC 2012 in {REAL}; set VOC2012_ROOT to its folder")
@pytest.mark.parametrize("split", VOC2012.split_sizes)
def test_split_sizes_of_the_real_data_are_the_published_ones(split):
    assert len(VOC2012(REAL, split)) == VOC2012.split_sizes[split]
