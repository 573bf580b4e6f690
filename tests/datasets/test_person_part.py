"""PASCAL Person-Part: its two forms of masks, and what is said about a copy that is not as it should be."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from helpers.layouts import person_part as layout
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.person_part import PersonPart
from refinenet_pl.errors import DataError

SPLITS = {"train": layout.TRAIN, "val": layout.VAL}
# The class of the neck in the copy's masks, and the default of those that are merged here.
NECK = {"png": layout.PARTS["neck"], "mat": 1}
VOC = Path("VOCdevkit/VOC2010")
PNG = Path("pascal_person_part")
FIRST = "2008_000008"
REAL = Path(os.environ.get("PERSON_PART_ROOT", "data/person_part"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("person_part")
    layout.build(folder)
    return folder


@pytest.fixture
def root(built, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(built, tmp_path / "person_part")


def refusal_to_open(root: Path, split: str = "train", **options) -> str:
    with pytest.raises(DataError) as refused:
        PersonPart(root, split, **options)
    return str(refused.value)


def person(*parts: tuple[str, np.ndarray]) -> list:
    return [("person", list(parts))]


def rewrite(root: Path, name: str, things: list) -> Path:
    """Replace an annotation by a younger one."""
    path = root / "Annotations_Part" / f"{name}.mat"
    layout.write_annotation(path, things)
    # What was made of the old one is of the past, however coarse the clock of the disk is.
    for made in (root / "refinenet_pl_cache").rglob("*"):
        if made.is_file():
            os.utime(made, ns=(made.stat().st_mtime_ns - 10**10,) * 2)
    return path


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("form", ["png", "mat"])
def test_both_forms_have_the_same_samples_in_the_order_of_the_lists(root, form, split):
    dataset = PersonPart(root, split, form=form)
    names = layout.labelled(SPLITS[split])
    assert [dataset.name(index) for index in range(len(dataset))] == names
    for index, name in enumerate(names):
        image, mask = dataset.read(index)
        assert np.array_equal(image, np.array(Image.open(root / VOC / "JPEGImages" / f"{name}.jpg")))
        assert np.array_equal(mask, layout.mask_of(name, NECK[form])) and set(np.unique(mask)) == set(range(7))


def test_pngs_are_taken_where_they_are(root):
    assert PersonPart(root, "val").samples == PersonPart(root, "val", form="png").samples
    assert not (root / "refinenet_pl_cache").exists()
    shutil.rmtree(root / PNG)
    assert PersonPart(root, "val").samples == PersonPart(root, "val", form="mat").samples


def test_the_neck_belongs_to_the_torso_or_the_head_and_the_cache_keeps_them_apart(root):
    for options, class_id in [({"neck": "torso"}, 2), ({}, 1), ({"neck": "head"}, 1), ({"neck": "torso"}, 2)]:
        dataset = PersonPart(root, "train", form="mat", **options)
        assert np.array_equal(dataset.read(0)[1], layout.mask_of(FIRST, class_id))
    assert not np.array_equal(layout.mask_of(FIRST, 1), layout.mask_of(FIRST, 2))


def test_the_neck_of_pngs_cannot_be_chosen(root):
    message = refusal_to_open(root, neck="torso")
    assert str(root) in message and "form: mat" in message


@pytest.mark.parametrize("option", [{"form": "mask"}, {"neck": "arm"}])
def test_options_that_are_none(root, option):
    assert repr(*option.values()) in refusal_to_open(root, **option)


def test_each_part_becomes_its_class(root):
    for part, class_id in (layout.PARTS | {"neck": NECK["mat"]}).items():
        size = layout.TRAIN[FIRST]
        rewrite(root, FIRST, person((part, np.eye(*size))))
        mask = PersonPart(root, "train", form="mat").read(0)[1]
        assert np.array_equal(mask, np.eye(*size, dtype=np.uint8) * class_id), part


def test_opening_again_converts_nothing(root):
    PersonPart(root, "train", form="mat")
    before = {path: path.stat().st_mtime_ns for path in (root / "refinenet_pl_cache").rglob("*") if path.suffix}
    assert len(before) == len(layout.TRAIN)
    PersonPart(root, "train", form="mat")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_picture_that_loses_its_parts_leaves_the_split_and_one_that_gets_some_enters_it(root):
    assert [sample.name for sample in PersonPart(root, "train", form="mat").samples] == layout.labelled(layout.TRAIN)
    rewrite(root, FIRST, person())
    rewrite(root, "2008_000023", person(("nose", np.ones(layout.TRAIN["2008_000023"]))))
    names = [sample.name for sample in PersonPart(root, "train", form="mat").samples]
    assert names == ["2008_000019", "2008_000023", "2008_000028"]


def test_a_picture_that_another_split_has_converted_can_enter_the_list(root):
    for split in SPLITS:
        PersonPart(root, split, form="mat")
    listing = root / VOC / "ImageSets/Main/val.txt"
    listing.write_text(listing.read_text() + FIRST + "\n")
    names = [sample.name for sample in PersonPart(root, "val", form="mat").samples]
    assert names == [*layout.labelled(layout.VAL), FIRST]


def test_a_part_without_pixels_is_none(root):
    rewrite(root, FIRST, person(("nose", np.zeros(layout.TRAIN[FIRST]))))
    assert FIRST not in [sample.name for sample in PersonPart(root, "train", form="mat").samples]


def test_the_cache_lies_where_it_is_told_to(root, tmp_path):
    PersonPart(root, "val", form="mat", cache=str(tmp_path / "elsewhere"))
    assert len(list((tmp_path / "elsewhere").rglob("*.png"))) == len(layout.VAL)
    assert not (root / "refinenet_pl_cache").exists()


def test_annotations_may_be_unpacked_to_a_folder_of_the_archives_name(root):
    (root / "trainval").mkdir()
    shutil.move(root / "Annotations_Part", root / "trainval")
    assert len(PersonPart(root, "val", form="mat")) == 2


@pytest.mark.parametrize("form", ["png", "mat"])
def test_root_may_be_the_development_kit(root, form):
    for folder in "Annotations_Part", PNG:
        shutil.move(root / folder, root / "VOCdevkit")
    assert len(PersonPart(root / "VOCdevkit", "val", form=form)) == 2


def test_pictures_may_be_those_of_voc_2012(root):
    (root / VOC).rename(root / "VOCdevkit" / "VOC2012")
    assert np.array_equal(PersonPart(root, "train").read(0)[1], layout.mask_of(FIRST))


def test_255_is_void(root):
    mask = layout.mask_of(FIRST)
    mask[:5] = 255
    layout.write_palette_mask(root / PNG / "pascal_person_part_gt" / f"{FIRST}.png", mask)
    assert np.array_equal(PersonPart(root, "train").read(0)[1], mask)


def test_label_outside_the_classes(root):
    path = root / PNG / "pascal_person_part_gt" / f"{FIRST}.png"
    layout.write_palette_mask(path, np.full(layout.TRAIN[FIRST], 7, np.uint8))
    with pytest.raises(DataError) as refused:
        PersonPart(root, "train").read(0)
    assert str(path) in str(refused.value) and "values 7" in str(refused.value)


@pytest.mark.parametrize(
    ("form", "gone"),
    [
        ("png", PNG),
        ("png", "VOCdevkit"),
        ("mat", "Annotations_Part"),
        ("mat", "VOCdevkit"),
        (None, "*"),
    ],
)
def test_missing_folder(root, form, gone):
    for folder in root.glob(str(gone)):
        shutil.rmtree(folder)
    message = refusal_to_open(root, form=form)
    assert str(root) in message and PersonPart.source in message


@pytest.mark.parametrize(
    ("form", "gone"),
    [
        ("png", PNG / "pascal_person_part_trainval_list/train_id.txt"),
        ("png", PNG / f"pascal_person_part_gt/{FIRST}.png"),
        ("png", VOC / f"JPEGImages/{FIRST}.jpg"),
        ("mat", VOC / "ImageSets/Main/train.txt"),
        ("mat", f"Annotations_Part/{FIRST}.mat"),
        ("mat", VOC / f"JPEGImages/{FIRST}.jpg"),
    ],
)
def test_missing_file(root, form, gone):
    (root / gone).unlink()
    assert str(root / gone) in refusal_to_open(root, form=form)


@pytest.mark.parametrize(
    ("things", "problem"),
    [
        (person(("tail", np.ones((60, 80)))), "'tail' is no part of a person"),
        (person(("head", np.ones((60, 80))), ("nose", np.ones((60, 81)))), "sizes (60, 80) and (60, 81)"),
        (person(("head", np.ones((60, 80, 3)))), "mask of head"),
    ],
)
def test_annotation_that_is_not_pascal_parts(root, things, problem):
    path = rewrite(root, FIRST, things)
    message = refusal_to_open(root, form="mat")
    assert str(path) in message and problem in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"LabelMap": np.ones((60, 80), np.uint8)}, "anno"),
        ({"anno": {"imname": FIRST}}, "'objects'"),
        ({"anno": {"objects": {"class": "person"}}}, "'parts'"),
        ({"anno": {"objects": {"class": "person", "parts": {"part_name": "head"}}}}, "'mask'"),
    ],
)
def test_mat_file_of_another_kind(root, content, problem):
    path = root / "Annotations_Part" / f"{FIRST}.mat"
    scipy.io.savemat(path, content)
    message = refusal_to_open(root, form="mat")
    assert str(path) in message and problem in message


@pytest.mark.parametrize("form", ["png", "mat"])
def test_batches(root, form):
    module = SegmentationDataModule("person_part", str(root), {"form": form}, global_batch=2, crop_size=(48, 48), num_workers=0)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert batch["image"].shape == (2, 3, 48, 48) and batch["mask"].shape == (2, 48, 48)
    batch = next(iter(module.val_dataloader()))
    assert torch.equal(batch["mask"][0], torch.from_numpy(layout.mask_of("2008_000002", NECK[form]).astype(np.int64)))


@pytest.mark.skipif(not (REAL / VOC).is_dir(), reason=f"no Person-Part in {REAL}; set PERSON_PART_ROOT to its folder")
@pytest.mark.parametrize("split", PersonPart.split_sizes)
def test_split_sizes_of_the_real_data_are_the_published_ones(split):
    assert len(PersonPart(REAL, split)) == PersonPart.split_sizes[split]
