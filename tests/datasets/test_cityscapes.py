"""Cityscapes: what is read, and what is said about a copy that is not as it should be."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.layouts import cityscapes as layout
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.cityscapes import LABEL_IDS, Cityscapes
from refinenet_pl.errors import DataError


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "cityscapes"
    folder.mkdir()
    layout.build(folder)
    return folder


def refusal_to_open(root: Path, split: str = "val") -> str:
    with pytest.raises(DataError) as refused:
        Cityscapes(root, split)
    return str(refused.value)


def refusal_to_read(root: Path) -> str:
    with pytest.raises(DataError) as refused:
        Cityscapes(root, "val")[0]
    return str(refused.value)


FIRST = layout.samples_of("val")[0]


@pytest.mark.parametrize("split", ["train", "val"])
def test_samples_come_in_the_order_of_their_names_with_exact_pixels(root, split):
    dataset = Cityscapes(root, split)
    indices = layout.samples_of(split)
    assert len(dataset) == len(indices)
    for position, index in enumerate(indices):
        _, city, frame, _ = layout.SAMPLES[index]
        sample = dataset[position]
        assert sample["name"] == f"{city}_{frame}"
        assert np.array_equal(sample["image"].numpy(), layout.picture_of(index).transpose(2, 0, 1))
        assert np.array_equal(sample["mask"].numpy(), layout.mask_of(index))


def test_copy_holds_all_label_ids_and_255():
    assert set(np.unique(layout.labels_of(FIRST))) == {*range(34), 255}
    assert set(np.unique(layout.mask_of(FIRST))) == {*range(19), 255}


def test_names_colours_and_sizes():
    assert Cityscapes.classes.names == (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
        "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    )  # fmt: skip
    assert Cityscapes.classes.palette[0] == (128, 64, 128) and Cityscapes.classes.palette[18] == (119, 11, 32)
    assert Cityscapes.split_sizes == {"train": 2975, "val": 500} and Cityscapes.unlabelled_sizes == {"test": 1525}
    assert (Cityscapes.void_channel, Cityscapes.short_edge) == ("last", (600, 1100))


def test_label_ids_are_the_official_ones():
    assert {label_id: class_id for class_id, label_id in enumerate(LABEL_IDS)} == layout.TRAIN_IDS


def test_batches(root):
    data = SegmentationDataModule(dataset="cityscapes", root=str(root), global_batch=2, crop_size=(40, 40), num_workers=0)
    data.setup("fit")
    train, val = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
    assert train["image"].shape == (2, 3, 40, 40) and train["mask"].dtype == torch.int64
    assert set(train["mask"].unique().tolist()) <= {*range(19), 255}
    assert np.array_equal(val["mask"][0].numpy(), layout.mask_of(FIRST))


def test_labels_of_the_test_split_are_not_public(root):
    assert "not public" in refusal_to_open(root, "test")


def test_unknown_split(root):
    assert "'train_extra'" in refusal_to_open(root, "train_extra")


def test_missing_folder(tmp_path):
    message = refusal_to_open(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message and Cityscapes.source in message


@pytest.mark.parametrize("part", ["leftImg8bit", "gtFine"])
def test_missing_archive(root, part):
    shutil.rmtree(root / part)
    message = refusal_to_open(root)
    assert str(root) in message and f"'{part}/val'" in message and Cityscapes.source in message


def test_archives_are_left_to_the_user(root):
    """torchvision would unpack them, in every process of a run."""
    for part in "leftImg8bit", "gtFine":
        with zipfile.ZipFile(root / f"{part}_trainvaltest.zip", "w") as archive:
            for file in (root / part).rglob("*.png"):
                archive.write(file, file.relative_to(root))
        shutil.rmtree(root / part)
    assert "'leftImg8bit/val'" in refusal_to_open(root)
    assert not (root / "leftImg8bit").exists()


@pytest.mark.parametrize(
    "stray",
    [
        "leftImg8bit/val/.DS_Store",
        "leftImg8bit/val/notes.txt",
        "leftImg8bit/val/aachen/._x_leftImg8bit.png",
        "gtFine/val/aachen/._x_gtFine_labelIds.png",
        "leftImg8bit/val/.ipynb_checkpoints/x_leftImg8bit.png",
        "gtFine/val/.ipynb_checkpoints/x_gtFine_labelIds.png",
    ],
)
def test_files_of_other_programs_do_not_count(root, stray):
    samples = Cityscapes(root, "val").samples
    (root / stray).parent.mkdir(exist_ok=True)
    (root / stray).touch()
    assert Cityscapes(root, "val").samples == samples


def test_split_without_pictures(root):
    for part in "leftImg8bit", "gtFine":
        shutil.rmtree(root / part / "val")
        (root / part / "val").mkdir()
    message = refusal_to_open(root)
    assert str(root) in message and "names no pictures" in message


def test_picture_without_labels(root):
    (root / layout.label_path(FIRST)).unlink()
    message = refusal_to_open(root)
    assert str(root / layout.label_path(FIRST)) in message and "missing" in message


def test_labels_without_picture(root):
    (root / layout.image_path(FIRST)).unlink()
    message = refusal_to_open(root)
    assert str(root / layout.label_path(FIRST)) in message and "no picture" in message


@pytest.mark.parametrize("path", [layout.image_path(FIRST), layout.label_path(FIRST)])
def test_truncated_file(root, path):
    content = (root / path).read_bytes()
    (root / path).write_bytes(content[: len(content) // 2])
    message = refusal_to_read(root)
    assert str(root / path) in message and "cannot be read as an image" in message


@pytest.mark.parametrize("label", [34, 254])
def test_label_outside_the_official_ones(root, label):
    labels = layout.labels_of(FIRST)
    labels[3, 5] = label
    Image.fromarray(labels).save(root / layout.label_path(FIRST))
    message = refusal_to_read(root)
    assert str(root / layout.label_path(FIRST)) in message and f"values {label} in 1 pixels" in message


def test_labels_of_another_size(root):
    Image.fromarray(np.zeros((60, 79), np.uint8)).save(root / layout.label_path(FIRST))
    message = refusal_to_read(root)
    assert str(root / layout.label_path(FIRST)) in message and "79x60" in message and "80x60" in message


def test_files_with_train_ids_are_neither_needed_nor_read(root):
    """Some copies hold them, made by a script of the data set's authors."""
    for split in "train", "val":
        for index in layout.samples_of(split):
            path = root / layout.label_path(index).replace("labelIds", "labelTrainIds")
            Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
    dataset = Cityscapes(root, "val")
    assert len(dataset) == 2 and np.array_equal(dataset.read(0)[1], layout.mask_of(FIRST))
