"""Datasets on official files: those of OFFICIAL_ROOT, copied into the layout of the download, and complete copies if present.

Expected values are in the files themselves, or in those of another dataset.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from helpers.layouts.files import write_lines
from helpers.matlab import matlab73
from helpers.repository import REPOSITORY
from PIL import Image

from refinenet_pl.datasets.ade20k import ADE20K
from refinenet_pl.datasets.nyud import NYUDv2
from refinenet_pl.datasets.person_part import PersonPart
from refinenet_pl.datasets.readers.labels import VOID
from refinenet_pl.datasets.registry import DATASETS, find_dataset
from refinenet_pl.datasets.voc import VOC2012, VOC_CLASSES

# Pixels (row, column) in the middle of a neck, in Person-Part's PNGs.
NECKS = {"2009_001521": [(151, 52), (186, 190)], "2008_007586": [(150, 364)]}
# Samples of NYUDv2 with class map and official image, and those with image and mask of the PyTorch port.
WITH_IMAGE = (1, 2, 9, 14, 15, 16, 17, 18)
PORTED = (834, 972, 1096, 1299, 1391)


def pixels(path: Path) -> np.ndarray:
    """The values of a file; of a palette PNG, the indices."""
    return np.array(Image.open(path))


def names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.stem for path in folder.glob(pattern))


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("scenes", "folder", "pascal_context59")])
def test_published_sizes(name):
    root = Path(os.environ.get(f"{name.upper()}_ROOT", REPOSITORY / "data" / name))
    if not root.is_dir():
        pytest.skip(f"no complete {name} at {root}; set {name.upper()}_ROOT to its folder")
    dataset = find_dataset(name)
    assert {split: len(dataset(root=root, split=split)) for split in dataset.split_sizes} == dataset.split_sizes


class TestVOC2012:
    @pytest.fixture(scope="class")
    def dataset(self, official_root, tmp_path_factory) -> VOC2012:
        root, files = tmp_path_factory.mktemp("voc2012"), official_root / "VOC2012"
        voc = root / "VOCdevkit/VOC2012"
        shutil.copytree(files / "JPEGImages", voc / "JPEGImages")
        shutil.copytree(files / "SegmentationClassAug", voc / "SegmentationClass")
        write_lines(voc / "ImageSets/Segmentation/val.txt", (files / "ImageSets/Segmentation/all.txt").read_text().split())
        return VOC2012(root, "val")

    def test_images_and_masks_are_those_of_the_files(self, dataset, official_root):
        files = official_root / "VOC2012"
        assert len(dataset) == 64
        for index, sample in enumerate(dataset.samples):
            image, mask = dataset.read(index)
            assert np.array_equal(image, pixels(files / f"JPEGImages/{sample.name}.jpg"))
            assert np.array_equal(mask, pixels(files / f"SegmentationClassAug/{sample.name}.png"))
            assert set(np.unique(mask)) <= {*range(21), VOID}

    def test_classes_agree_with_the_objects_in_pascal_part(self, dataset, official_root):
        masks = {sample.name: index for index, sample in enumerate(dataset.samples)}
        for name in names(official_root / "person_part", "*.mat"):
            present = set(np.unique(dataset.read(masks[name])[1])) - {0, VOID}
            objects = {getattr(thing, "class") for thing in objects_of(official_root, name)}
            aliases = {"diningtable"} if "table" in objects else set()
            assert {VOC_CLASSES[class_id] for class_id in present} <= objects | aliases, name


def objects_of(official_root: Path, name: str) -> np.ndarray:
    """The objects of a PASCAL-Part annotation."""
    content = scipy.io.loadmat(official_root / f"person_part/{name}.mat", squeeze_me=True, struct_as_record=False)
    return np.atleast_1d(content["anno"].objects)


def people_of(official_root: Path, name: str) -> list:
    return [thing for thing in objects_of(official_root, name) if getattr(thing, "class") == "person"]


def parts_of(official_root: Path, name: str) -> tuple[list[str], np.ndarray]:
    """Names and masks, bool (parts, height, width), of the parts of people, in the order of the file."""
    parts = [part for person in people_of(official_root, name) for part in np.atleast_1d(person.parts)]
    return [part.part_name for part in parts], np.stack([part.mask > 0 for part in parts])


class TestPersonPart:
    @pytest.fixture(scope="class")
    def annotated(self, official_root, tmp_path_factory) -> PersonPart:
        """Form `mat`."""
        root, files = tmp_path_factory.mktemp("annotated"), official_root / "person_part"
        voc = root / "VOCdevkit/VOC2010"
        for pattern, folder in (("*.mat", root / "Annotations_Part"), ("*.jpg", voc / "JPEGImages")):
            folder.mkdir(parents=True)
            for file in files.glob(pattern):
                shutil.copy(file, folder)
        write_lines(voc / "ImageSets/Main/train.txt", names(files, "*.mat"))
        return PersonPart(root, "train")

    @pytest.fixture(scope="class")
    def published(self, official_root, tmp_path_factory) -> PersonPart:
        """Form `png`."""
        root, files = tmp_path_factory.mktemp("published"), official_root / "person_part/merged"
        shutil.copytree(files, root / "VOCdevkit/VOC2010/JPEGImages")
        shutil.copytree(files, root / "pascal_person_part/pascal_person_part_gt")
        write_lines(root / "pascal_person_part/pascal_person_part_trainval_list/val_id.txt", names(files, "*.png"))
        return PersonPart(root, "val")

    def test_samples_are_the_images_with_people_in_voc(self, annotated, official_root):
        masks = official_root / "VOC2012/SegmentationClassAug"
        people = [name for name in names(official_root / "person_part", "*.mat") if (pixels(masks / f"{name}.png") == 15).any()]
        assert [sample.name for sample in annotated.samples] == people and len(people) == 8

    def test_parts_cover_people_within_their_silhouettes(self, annotated, official_root):
        for index, sample in enumerate(annotated.samples):
            image, mask = annotated.read(index)
            assert np.array_equal(image, pixels(official_root / f"person_part/{sample.name}.jpg"))
            voc = pixels(official_root / f"VOC2012/SegmentationClassAug/{sample.name}.png")
            silhouettes = np.any([person.mask for person in people_of(official_root, sample.name)], axis=0)
            # 94.2 % to 99.2 %, because the two datasets were labeled independently.
            assert (mask > 0)[voc == 15].mean() > 0.9 and not (mask > 0)[~silhouettes].any()

    def test_later_parts_cover_earlier_ones(self, annotated, official_root):
        classes = {"torso": 2, "luarm": 3, "ruarm": 3, "llarm": 4, "rlarm": 4, "lhand": 4, "rhand": 4}
        classes |= {"luleg": 5, "ruleg": 5, "llleg": 6, "rlleg": 6, "lfoot": 6, "rfoot": 6}
        for index, sample in enumerate(annotated.samples):
            parts, covers = parts_of(official_root, sample.name)
            last = len(parts) - 1 - covers[::-1].argmax(axis=0)
            expected = np.array([classes.get(part, 1) for part in parts])[last] * covers.any(axis=0)
            assert np.array_equal(annotated.read(index)[1], expected), sample.name

    def test_published_images_and_masks(self, published, official_root):
        files = official_root / "person_part/merged"
        assert [sample.name for sample in published.samples] == ["2008_002176", "2008_007586", "2008_008246", "2009_001521"]
        for index, sample in enumerate(published.samples):
            image, mask = published.read(index)
            assert np.array_equal(image, pixels(files / f"{sample.name}.jpg"))
            assert np.array_equal(mask, pixels(files / f"{sample.name}.png")) and set(np.unique(mask)) <= set(range(7))

    def test_necks_have_the_same_class_in_both_forms(self, published, annotated, official_root):
        in_png, in_mat = set(), set()
        for index in range(len(published)):
            mask = published.read(index)[1]
            in_png |= {int(mask[pixel]) for pixel in NECKS.get(published.name(index), ())}
        for index, sample in enumerate(annotated.samples):
            parts, covers = parts_of(official_root, sample.name)
            is_neck = np.array(parts) == "neck"
            neck_alone = covers[is_neck].any(axis=0) & ~covers[~is_neck].any(axis=0)
            in_mat |= set(annotated.read(index)[1][neck_alone].tolist())
        assert in_png == in_mat == {1}


class TestADE20K:
    @pytest.fixture(scope="class")
    def dataset(self, official_root, tmp_path_factory) -> ADE20K:
        root = tmp_path_factory.mktemp("ade20k")
        shutil.copytree(official_root / "ade20k", root / "ADEChallengeData2016")
        return ADE20K(root, "val")

    def test_images_and_masks_are_those_of_the_files(self, dataset, official_root):
        files = official_root / "ade20k"
        assert [sample.name for sample in dataset.samples] == [f"ADE_val_0000000{number}" for number in (1, 2, 3)]
        for index, (name, _, _) in enumerate(dataset.samples):
            image, mask = dataset.read(index)
            labels = pixels(files / f"annotations/validation/{name}.png").astype(int)
            assert np.array_equal(image, pixels(files / f"images/validation/{name}.jpg"))
            assert np.array_equal(mask, np.where(labels == 0, VOID, labels - 1))
            assert (mask == VOID).mean() == (labels == 0).mean() > 0

    def test_classes_of_selected_pixels(self, dataset):
        mask = dataset.read(0)[1]
        shown = {(60, 100): "sky", (250, 350): "building", (405, 150): "wall", (340, 30): "tree", (460, 300): "grass"}
        assert {pixel: dataset.classes.names[mask[pixel]] for pixel in shown} == shown


class TestNYUDv2:
    """The files lack raw labels; those written here give the official class maps after the official mapping."""

    @pytest.fixture(scope="class")
    def classes(self, official_root) -> dict[int, np.ndarray]:
        """Official class maps: 1 to 40, and 0 for unlabeled pixels."""
        return {number: pixels(official_root / f"nyudv2/labels40/{number:06}.png") for number in WITH_IMAGE + PORTED}

    @pytest.fixture(scope="class")
    def root(self, official_root, classes, tmp_path_factory) -> Path:
        files, root = official_root / "nyudv2", tmp_path_factory.mktemp("nyudv2")
        shutil.copy(files / "classMapping40.mat", root)
        # In the order of the official list, without samples whose files are missing.
        numbers = [number for number in splits(files)["test"] if number in classes]
        scipy.io.savemat(root / "splits.mat", {"testNdxs": np.array(numbers, np.uint16)[:, None]})
        mapping = scipy.io.loadmat(files / "classMapping40.mat")["mapClass"][0]
        raw = np.array([0, *(np.flatnonzero(mapping == class_id)[-1] + 1 for class_id in range(1, 41))], np.uint16)
        with matlab73(root / "nyu_depth_v2_labeled.mat") as file:
            # Chunks that are not written need no space on disk.
            images = file.create_dataset("images", (1449, 3, 640, 480), np.uint8, chunks=(1, 3, 640, 480))
            labels = file.create_dataset("labels", (1449, 640, 480), np.uint16, chunks=(1, 640, 480))
            for number, ids in classes.items():
                labels[number - 1] = raw[ids].T
                if number in WITH_IMAGE:
                    images[number - 1] = pixels(files / f"color/{number:04}.png").transpose(2, 1, 0)
        return root

    def test_splits_have_the_published_sizes_and_are_disjoint(self, official_root):
        found = splits(official_root / "nyudv2")
        assert {split: len(numbers) for split, numbers in found.items()} == NYUDv2.split_sizes
        assert sorted(found["train"] + found["test"]) == list(range(1, 1450))

    def test_class_names_are_those_of_the_mapping(self, official_root):
        listed = scipy.io.loadmat(official_root / "nyudv2/classMapping40.mat", squeeze_me=True)["className"]
        assert tuple(listed) == NYUDv2.classes.names

    def test_images_and_masks_are_those_of_the_files(self, root, official_root, classes):
        dataset = NYUDv2(root, "test")
        assert [int(sample.name) for sample in dataset.samples] == list(WITH_IMAGE + PORTED)
        for index, number in enumerate(WITH_IMAGE):
            image, mask = dataset.read(index)
            assert np.array_equal(image, pixels(official_root / f"nyudv2/color/{number:04}.png"))
            assert np.array_equal(mask, np.where(classes[number] == 0, VOID, classes[number].astype(int) - 1))

    def test_masks_of_the_port_are_the_official_ones_without_border(self, root, official_root):
        dataset = NYUDv2(root, "test", crop="border")
        for index, number in enumerate(PORTED, start=len(WITH_IMAGE)):
            ported = official_root / f"nyudv2/ported/{number:06}"
            mask = dataset.read(index)[1]
            assert np.array_equal(mask, pixels(Path(f"{ported}_mask.png"))), number
            assert mask.shape == pixels(Path(f"{ported}.png")).shape[:2]

    def test_crop_removes_the_white_border(self, official_root):
        """One row or column at the inner edge of the border is blended; the crop removes it too."""
        darkest = np.min([pixels(path).min(axis=2) for path in (official_root / "nyudv2/color").glob("*.png")], axis=0)
        border = np.ones(darkest.shape, bool)
        border[5:475, 6:633] = False
        assert (darkest[border] == 255).all()
        kept = darkest[6:474, 7:632]
        assert kept.max(axis=0).max() < 255 and kept.max(axis=1).max() < 255


def splits(files: Path) -> dict[str, list[int]]:
    """Numbers of each split, from 1."""
    content = scipy.io.loadmat(files / "splits.mat", squeeze_me=True)
    return {split: content[f"{split}Ndxs"].tolist() for split in ("train", "test")}
