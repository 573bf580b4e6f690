"""PASCAL Person-Part: its two forms of masks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_behavior import CachedDatasetBehavior, DatasetBehavior
from helpers.layouts import person_part as layout
from helpers.layouts.person_part import PNG, VOC

from refinenet_pl.datasets.person_part import PersonPart

FIRST = "2008_000008"
IMAGE, MASK = layout.image_path(FIRST), f"{PNG}/pascal_person_part_gt/{FIRST}.png"
MAT = f"Annotations_Part/{FIRST}.mat"


def person(*parts: tuple[str, np.ndarray]) -> list:
    return [("person", list(parts))]


def rewrite(root: Path, name: str, things: list) -> Path:
    """Replace an annotation."""
    path = root / "Annotations_Part" / f"{name}.mat"
    layout.write_annotation(path, things)
    shutil.rmtree(root / "refinenet_pl_cache", ignore_errors=True)
    return path


class TestPNGs(DatasetBehavior):
    name, dataset, layout = "person_part", PersonPart, layout
    options = {"form": "png"}
    lists = (f"{PNG}/pascal_person_part_trainval_list/train_id.txt",)
    files = (*lists, MASK, IMAGE)
    folders = (PNG, "VOCdevkit")
    unknown_values = (7,)

    def test_neck_cannot_be_chosen(self, root):
        self.refuses_to_open(root, root, "form: mat", neck="torso")

    def test_root_may_be_the_development_kit(self, root):
        for folder in "Annotations_Part", PNG:
            shutil.move(root / folder, root / "VOCdevkit")
        for form in "png", "mat":
            assert len(self.open(root / "VOCdevkit", "val", form=form)) == 2

    def test_images_may_be_those_of_voc_2012(self, root):
        (root / VOC).rename(root / "VOCdevkit" / "VOC2012")
        assert np.array_equal(self.open(root).read(0)[1], layout.mask_of(FIRST))


class TestMatFiles(CachedDatasetBehavior):
    name, dataset, layout = "person_part", PersonPart, layout
    options = {"form": "mat"}
    lists = (f"{VOC}/ImageSets/Main/train.txt",)
    files = (*lists, IMAGE)
    folders = ("Annotations_Part", "VOCdevkit")
    unknown_values = (7,)
    cached = len(layout.TRAIN)
    mat_files = {MAT: "anno"}
    wrong_mat_files = [
        (MAT, {"anno": {"imname": FIRST}}, "'objects'"),
        (MAT, {"anno": {"objects": {"class": "person"}}}, "'parts'"),
        (MAT, {"anno": {"objects": {"class": "person", "parts": {"part_name": "head"}}}}, "'mask'"),
    ]

    def test_form_is_detected(self, root):
        assert PersonPart(root, "val").samples == PersonPart(root, "val", form="png").samples
        assert not (root / "refinenet_pl_cache").exists()
        shutil.rmtree(root / PNG)
        assert PersonPart(root, "val").samples == self.open(root, "val").samples
        shutil.rmtree(root / "Annotations_Part")
        self.refuses_to_open(root, PersonPart.source, form=None)

    def test_neck_is_cached_for_each_class(self, root):
        for options, class_id in [({"neck": "torso"}, 2), ({}, 1), ({"neck": "head"}, 1), ({"neck": "torso"}, 2)]:
            assert np.array_equal(self.open(root, **options).read(0)[1], layout.mask_of(FIRST, class_id))
        assert not np.array_equal(layout.mask_of(FIRST, 1), layout.mask_of(FIRST, 2))

    @pytest.mark.parametrize("option", [{"form": "mask"}, {"neck": "arm"}])
    def test_unknown_options(self, root, option):
        self.refuses_to_open(root, repr(*option.values()), **option)

    def test_class_of_each_part(self, root):
        size = layout.TRAIN[FIRST]
        for part, class_id in layout.PARTS.items():
            rewrite(root, FIRST, person((part, np.eye(*size))))
            assert np.array_equal(self.open(root).read(0)[1], np.eye(*size, dtype=np.uint8) * class_id), part

    def test_split_consists_of_images_with_parts(self, root):
        assert [sample.name for sample in self.open(root).samples] == layout.SPLITS["train"]
        rewrite(root, FIRST, person())
        rewrite(root, "2008_000023", person(("nose", np.ones(layout.TRAIN["2008_000023"]))))
        assert [sample.name for sample in self.open(root).samples] == ["2008_000019", "2008_000023", "2008_000028"]
        rewrite(root, "2008_000023", person(("nose", np.zeros(layout.TRAIN["2008_000023"]))))
        assert [sample.name for sample in self.open(root).samples] == ["2008_000019", "2008_000028"]

    def test_image_in_the_cache_of_another_split(self, root):
        for split in layout.SPLITS:
            self.open(root, split)
        listing = root / VOC / "ImageSets/Main/val.txt"
        listing.write_text(listing.read_text() + FIRST + "\n")
        assert [sample.name for sample in self.open(root, "val").samples] == [*layout.SPLITS["val"], FIRST]

    def test_annotations_in_the_folder_of_the_archive(self, root):
        (root / "trainval").mkdir()
        shutil.move(root / "Annotations_Part", root / "trainval")
        assert len(self.open(root, "val")) == 2

    @pytest.mark.parametrize(
        ("things", "problem"),
        [
            (person(("tail", np.ones((60, 80)))), "'tail' is not a part of a person"),
            (person(("head", np.ones((60, 80))), ("nose", np.ones((60, 81)))), "sizes (60, 80) and (60, 81)"),
            (person(("head", np.ones((60, 80, 3)))), "mask of head"),
        ],
    )
    def test_wrong_annotation(self, root, things, problem):
        self.refuses_to_open(root, rewrite(root, FIRST, things), problem)
