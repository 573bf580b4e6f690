"""PASCAL-Context: its two forms of masks, the two orders of classes, and what is said about a copy that is not right."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from helpers.layouts import pascal_context as layout
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets import pascal_context
from refinenet_pl.datasets.pascal_context import PascalContext, PascalContext59
from refinenet_pl.errors import DataError

SPLITS = {"train": layout.TRAIN, "val": layout.VAL}
NAMES = [*layout.TRAIN, *layout.VAL]
VOC = Path("VOCdevkit/VOC2010")
FIRST = "2008_000008"
ENCODINGS = {"alphabetical": layout.alphabetical_mask_of, "task": layout.mask_of}
REAL = Path(os.environ.get("PASCAL_CONTEXT_ROOT", "data/pascal_context"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pascal_context")
    layout.build(folder)
    return folder


@pytest.fixture
def root(built, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(built, tmp_path / "pascal_context")


@pytest.fixture(params=ENCODINGS)
def converted(request, tmp_path) -> Path:
    """The other form, its ids in one of the two orders."""
    folder = tmp_path / "converted"
    layout.build_converted(folder, {name: ENCODINGS[request.param](name) for name in NAMES})
    return folder


def without_background(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == 0, 255, mask.astype(int) - 1)


def refusal_to_open(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as refused:
        PascalContext(root, split)
    return str(refused.value)


@pytest.mark.parametrize("split", SPLITS)
def test_samples_come_in_the_order_of_the_list_with_exact_masks(root, split):
    dataset = PascalContext(root, split)
    assert [dataset.name(index) for index in range(len(dataset))] == list(SPLITS[split])
    seen = set()
    for index, name in enumerate(SPLITS[split]):
        image, mask = dataset.read(index)
        assert np.array_equal(image, np.array(Image.open(root / VOC / "JPEGImages" / f"{name}.jpg")))
        assert np.array_equal(mask, layout.mask_of(name))
        seen |= set(np.unique(mask))
    assert seen == set(range(60))


@pytest.mark.parametrize("split", SPLITS)
def test_59_classes_have_background_as_void_and_share_the_cache(root, split):
    with_background = PascalContext(root, split)
    dataset = PascalContext59(root, split)
    assert dataset.samples == with_background.samples
    for index, name in enumerate(SPLITS[split]):
        assert np.array_equal(dataset.read(index)[1], without_background(layout.mask_of(name)))


def test_59_classes_can_be_opened_first(root):
    PascalContext59(root, "val")
    assert np.array_equal(PascalContext(root, "val").read(0)[1], layout.mask_of("2008_000002"))


def test_classes():
    assert PascalContext.classes.names == ("background", *layout.OBJECTS, *layout.OTHERS)
    assert PascalContext59.classes.names == layout.OBJECTS + layout.OTHERS
    assert PascalContext59.classes.palette == PascalContext.classes.palette[1:]


def test_label_maps_of_another_integer_type_are_read(root):
    # MATLAB writes an array of doubles as the smallest type that holds its values.
    file = root / "trainval" / f"{FIRST}.mat"
    scipy.io.savemat(file, {"LabelMap": layout.labels_of(FIRST).astype(np.int16)})
    assert np.array_equal(PascalContext(root, "train").read(0)[1], layout.mask_of(FIRST))


def test_the_original_masks_are_preferred(root):
    masks = root / VOC / "SegmentationClassContext"
    masks.mkdir()
    for name in NAMES:
        Image.fromarray(np.zeros_like(layout.mask_of(name))).save(masks / f"{name}.png")
    assert np.array_equal(PascalContext(root, "train").read(0)[1], layout.mask_of(FIRST))


@pytest.mark.parametrize("split", SPLITS)
def test_converted_masks_are_of_the_tasks_order_whichever_they_have(converted, split):
    for index, name in enumerate(sorted(SPLITS[split])):
        assert np.array_equal(PascalContext(converted, split).read(index)[1], layout.mask_of(name))
        assert np.array_equal(PascalContext59(converted, split).read(index)[1], without_background(layout.mask_of(name)))


def test_converted_masks_may_have_void(converted):
    path = converted / VOC / "SegmentationClassContext" / f"{FIRST}.png"
    stored = np.array(Image.open(path))
    stored[:3] = 255
    Image.fromarray(stored).save(path)
    for dataset in PascalContext(converted, "train"), PascalContext59(converted, "train"):
        mask = dataset.read(0)[1]
        assert (mask[:3] == 255).all() and np.array_equal(
            mask[3:] == 255, dataset.values.encode(layout.mask_of(FIRST), path)[3:] == 255
        )


@pytest.mark.parametrize("split", SPLITS)
def test_lists_of_one_split_are_enough_to_tell_the_orders_apart(converted, split):
    for listing in (converted / VOC / "ImageSets/Main").glob("*_trainval.txt"):
        listing.unlink()
    assert np.array_equal(PascalContext(converted, split).read(0)[1], layout.mask_of(sorted(SPLITS[split])[0]))


def test_only_some_of_the_pictures_are_looked_at_to_tell_the_orders_apart(converted, monkeypatch):
    monkeypatch.setattr(pascal_context, "_PICTURES", 2)
    (converted / VOC / "SegmentationClassContext" / "2008_000015.png").write_bytes(b"")
    dataset = PascalContext(converted, "train")
    assert np.array_equal(dataset.read(0)[1], layout.mask_of(FIRST))
    with pytest.raises(DataError, match="2008_000015"):
        dataset.read(1)


def test_masks_that_follow_neither_order(tmp_path):
    shuffled = np.random.default_rng(0).permutation(60).astype(np.uint8)
    layout.build_converted(tmp_path, {name: shuffled[layout.mask_of(name)] for name in NAMES})
    message = refusal_to_open(tmp_path)
    assert str(tmp_path / VOC / "SegmentationClassContext") in message and "it cannot be told" in message
    assert PascalContext.source in message


def test_masks_of_which_some_follow_either_order(tmp_path):
    masks = {name: ENCODINGS["task" if name == FIRST else "alphabetical"](name) for name in NAMES}
    layout.build_converted(tmp_path, masks)
    assert "it cannot be told" in refusal_to_open(tmp_path)


def test_converted_masks_without_lists_of_objects(converted):
    for listing in (converted / VOC / "ImageSets/Main").glob("*_*.txt"):
        listing.unlink()
    message = refusal_to_open(converted)
    assert "it cannot be told" in message and "0 objects" in message and "VOCtrainval_03-May-2010.tar" in message


def test_objects_that_are_difficult_or_absent_do_not_count(converted):
    for listing in (converted / VOC / "ImageSets/Main").glob("*_*.txt"):
        listing.write_text(listing.read_text().replace("  1", "  0"))
    assert "0 objects" in refusal_to_open(converted)


def test_root_may_be_the_development_kit(root):
    for name in "trainval", "labels.txt":
        shutil.move(root / name, root / "VOCdevkit")
    assert np.array_equal(PascalContext(root / "VOCdevkit", "val").read(0)[1], layout.mask_of("2008_000002"))


def test_masks_may_lie_with_the_pictures(root):
    for name in "trainval", "labels.txt":
        shutil.move(root / name, root / VOC)
    assert np.array_equal(PascalContext(root, "val").read(0)[1], layout.mask_of("2008_000002"))


def test_the_trainval_of_pascal_part_is_not_taken_for_the_masks(converted):
    (converted / "trainval" / "Annotations_Part").mkdir(parents=True)
    assert np.array_equal(PascalContext(converted, "train").read(0)[1], layout.mask_of(FIRST))


def test_the_names_of_the_task_are_accepted_in_labels_txt(root):
    path = root / "labels.txt"
    path.write_text(path.read_text().replace(": table\n", ": diningtable\n").replace(": cloth\n", ": clothes\n"))
    assert len(PascalContext(root, "val")) == 3


def test_labels_txt_need_not_be_there(root):
    (root / "labels.txt").unlink()
    assert len(PascalContext(root, "val")) == 3


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("397: table\n", "397: tablecloth\n", "label 397 is tablecloth, but table"),
        ("2: aeroplane\n", "", "label 2 is missing, but aeroplane"),
        ("458: wood\n", "wood\n", "label 458 is missing, but wood"),
    ],
)
def test_labels_txt_of_other_labels(root, old, new, problem):
    path = root / "labels.txt"
    content = path.read_text()
    assert content.count("\n" + old) == 1
    path.write_text(content.replace("\n" + old, "\n" + new))
    message = refusal_to_open(root)
    assert str(path) in message and problem in message


@pytest.mark.parametrize("gone", ["VOCdevkit", "trainval"])
def test_missing_folder(root, gone):
    shutil.rmtree(root / gone)
    message = refusal_to_open(root)
    assert str(root) in message and PascalContext.source in message


@pytest.mark.parametrize("gone", [VOC / "ImageSets/Main/train.txt", f"trainval/{FIRST}.mat", VOC / f"JPEGImages/{FIRST}.jpg"])
def test_missing_file(root, gone):
    (root / gone).unlink()
    assert str(root / gone) in refusal_to_open(root)


@pytest.mark.parametrize("gone", ["ImageSets/SegmentationContext/train.txt", f"SegmentationClassContext/{FIRST}.png"])
def test_missing_file_of_the_other_form(converted, gone):
    (converted / VOC / gone).unlink()
    assert str(converted / VOC / gone) in refusal_to_open(converted)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"labels": np.zeros((60, 80), np.uint16)}, "LabelMap"),
        ({"LabelMap": np.full((60, 80), 460, np.uint16)}, "values 460"),
        ({"LabelMap": np.full((60, 80), -1, np.int16)}, "integers from 0"),
        ({"LabelMap": np.full((60, 80), 1.5)}, "float64"),
        ({"LabelMap": np.zeros((60, 80, 2), np.uint16)}, "(60, 80, 2)"),
    ],
)
def test_mat_file_of_another_kind(root, content, problem):
    path = root / "trainval" / f"{FIRST}.mat"
    scipy.io.savemat(path, content)
    message = refusal_to_open(root)
    assert str(path) in message and problem in message


def test_label_outside_the_classes(converted):
    path = converted / VOC / "SegmentationClassContext" / f"{FIRST}.png"
    Image.fromarray(np.full(layout.TRAIN[FIRST], 60, np.uint8)).save(path)
    message = refusal_to_open(converted)
    assert str(path) in message and "values 60" in message


@pytest.mark.parametrize("dataset", ["pascal_context", "pascal_context59"])
def test_batches(root, dataset):
    module = SegmentationDataModule(dataset, str(root), global_batch=2, crop_size=(48, 48), num_workers=0)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert batch["image"].shape == (2, 3, 48, 48) and batch["mask"].shape == (2, 48, 48)
    batch = next(iter(module.val_dataloader()))
    mask = layout.mask_of("2008_000002").astype(np.int64)
    assert torch.equal(batch["mask"][0], torch.from_numpy(mask if dataset == "pascal_context" else without_background(mask)))


@pytest.mark.skipif(not (REAL / VOC).is_dir(), reason=f"no PASCAL-Context in {REAL}; set PASCAL_CONTEXT_ROOT to its folder")
@pytest.mark.parametrize("split", PascalContext.split_sizes)
def test_split_sizes_of_the_real_data_are_the_published_ones(split):
    assert len(PascalContext(REAL, split)) == PascalContext.split_sizes[split]
