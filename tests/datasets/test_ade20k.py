"""ADE20K: what is read, and what is said about a copy that is not as it should be."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.layouts import ade20k as layout
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.ade20k import ADE20K
from refinenet_pl.errors import DataError

FOLDERS = {"train": "training", "val": "validation"}
FIRST = layout.samples_of("validation")[0]


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "ade20k"
    folder.mkdir()
    layout.build(folder)
    return folder


def mask_of(index: int) -> np.ndarray:
    annotation = layout.annotation_of(index).astype(int)
    return np.where(annotation == 0, 255, annotation - 1)


def refusal_to_open(root: Path, split: str = "val") -> str:
    with pytest.raises(DataError) as refused:
        ADE20K(root, split)
    return str(refused.value)


def refusal_to_read(root: Path) -> str:
    with pytest.raises(DataError) as refused:
        ADE20K(root, "val")[0]
    return str(refused.value)


@pytest.mark.parametrize("split", FOLDERS)
@pytest.mark.parametrize("inside", [False, True])
def test_samples_come_in_the_order_of_their_names_with_exact_pixels(root, split, inside):
    dataset = ADE20K(root / "ADEChallengeData2016" if inside else root, split)
    indices = layout.samples_of(FOLDERS[split])
    assert len(dataset) == len(indices)
    for position, index in enumerate(indices):
        sample = dataset[position]
        assert sample["name"] == layout.SAMPLES[index][1]
        expected = np.array(Image.open(root / layout.image_path(index)))
        if layout.SAMPLES[index][1] == layout.GREY:
            expected = np.stack([expected] * 3, axis=2)
        assert np.array_equal(sample["image"].numpy(), expected.transpose(2, 0, 1))
        assert np.array_equal(sample["mask"].numpy(), mask_of(index))


def test_copy_holds_all_classes_and_void():
    assert set(np.unique(mask_of(FIRST))) == {*range(150), 255}


def test_names_colours_and_sizes():
    names, palette = ADE20K.classes.names, ADE20K.classes.palette
    assert len(set(names)) == len(palette) == 150
    assert names[:4] == ("wall", "building", "sky", "floor") and names[-2:] == ("clock", "flag")
    assert (names[8], names[89], names[138]) == ("windowpane", "television", "ashcan")
    assert palette[:3] == ((120, 120, 120), (180, 120, 120), (6, 230, 230)) and palette[149] == (92, 0, 255)
    # Road and skyscraper share a colour in the official palette.
    assert len(set(palette)) == 149 and palette[6] == palette[48] == (140, 140, 140)
    assert ADE20K.split_sizes == {"train": 20210, "val": 2000} and ADE20K.unlabelled_sizes == {"test": 3352}
    assert (ADE20K.void_channel, ADE20K.short_edge) == ("first", (450, 800))


def test_batches(root):
    data = SegmentationDataModule(dataset="ade20k", root=str(root), global_batch=2, crop_size=(40, 40), num_workers=0)
    data.setup("fit")
    train, val = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
    assert train["image"].shape == (2, 3, 40, 40) and train["mask"].dtype == torch.int64
    assert set(train["mask"].unique().tolist()) <= {*range(150), 255}
    assert np.array_equal(val["mask"][0].numpy(), mask_of(FIRST))


def test_labels_of_the_test_split_are_not_public(root):
    assert "not public" in refusal_to_open(root, "test")


def test_unknown_split(root):
    assert "'training'" in refusal_to_open(root, "training")


def test_missing_folder(tmp_path):
    message = refusal_to_open(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message and ADE20K.source in message


@pytest.mark.parametrize("part", ["images", "annotations", "images/validation", "annotations/validation"])
def test_missing_part(root, part):
    shutil.rmtree(root / "ADEChallengeData2016" / part)
    message = refusal_to_open(root)
    assert str(root) in message and f"{part.split('/')[0]}/validation" in message and ADE20K.source in message


def test_split_without_pictures(root):
    for part in "images", "annotations":
        shutil.rmtree(root / "ADEChallengeData2016" / part / "validation")
        (root / "ADEChallengeData2016" / part / "validation").mkdir()
    message = refusal_to_open(root)
    assert str(root) in message and "names no pictures" in message


@pytest.mark.parametrize(
    ("gone", "stays", "lacking"),
    [
        (layout.image_path(FIRST), layout.annotation_path(FIRST), "images"),
        (layout.annotation_path(FIRST), layout.image_path(FIRST), "annotations"),
    ],
    ids=["picture", "annotation"],
)
def test_half_a_pair(root, gone, stays, lacking):
    (root / gone).unlink()
    message = refusal_to_open(root)
    assert f"{root / stays}: " in message and str(root / "ADEChallengeData2016" / lacking / "validation") in message
    assert "1 files" in message


def test_half_a_pair_that_goes_missing_later(root):
    dataset = ADE20K(root, "val")
    (root / layout.image_path(FIRST)).unlink()
    with pytest.raises(DataError, match="no such file") as refused:
        dataset[0]
    assert str(root / layout.image_path(FIRST)) in str(refused.value)


def test_hidden_files_of_a_file_manager_do_not_count(root):
    for path in layout.image_path(FIRST), layout.annotation_path(FIRST):
        (root / path).with_name("._" + Path(path).name).write_bytes(b"")
    assert len(ADE20K(root, "val")) == 2


@pytest.mark.parametrize("path", [layout.image_path(FIRST), layout.annotation_path(FIRST)])
def test_truncated_file(root, path):
    content = (root / path).read_bytes()
    (root / path).write_bytes(content[: len(content) // 2])
    message = refusal_to_read(root)
    assert str(root / path) in message and "cannot be read as an image" in message


@pytest.mark.parametrize("label", [151, 255])
def test_label_outside_the_classes(root, label):
    annotation = layout.annotation_of(FIRST)
    annotation[3, 5] = label
    Image.fromarray(annotation).save(root / layout.annotation_path(FIRST))
    message = refusal_to_read(root)
    assert str(root / layout.annotation_path(FIRST)) in message and f"values {label} in 1 pixels" in message


def test_annotation_in_colours_of_the_full_data_set(root):
    """The full ADE20K comes with masks whose red and green encode over 3,000 classes."""
    Image.new("RGB", (90, 60), (20, 3, 0)).save(root / layout.annotation_path(FIRST))
    message = refusal_to_read(root)
    assert str(root / layout.annotation_path(FIRST)) in message and "is in color" in message


def test_annotation_of_another_size(root):
    Image.fromarray(np.zeros((60, 89), np.uint8)).save(root / layout.annotation_path(FIRST))
    message = refusal_to_read(root)
    assert str(root / layout.annotation_path(FIRST)) in message and "89x60" in message and "90x60" in message
