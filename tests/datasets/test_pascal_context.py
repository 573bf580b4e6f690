"""PASCAL-Context: its two forms of masks, and the two orders of classes."""

import shutil

import numpy as np
import pytest
import scipy.io
from helpers.dataset_behavior import CachedDatasetBehavior, DatasetBehavior, refused
from helpers.layouts import pascal_context as layout
from helpers.layouts.files import write_image
from helpers.layouts.pascal_context import VOC
from PIL import Image

from refinenet_pl.datasets import pascal_context
from refinenet_pl.datasets.pascal_context import PascalContext, PascalContext59

FIRST = "2008_000008"
IMAGE, MAT = layout.image_path(FIRST), f"trainval/{FIRST}.mat"
MASKS = f"{VOC}/SegmentationClassContext"


def without_background(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == 0, 255, mask.astype(int) - 1)


class MatFiles(CachedDatasetBehavior):
    """The original form."""

    layout = layout
    lists = (f"{VOC}/ImageSets/Main/train.txt",)
    files = (*lists, IMAGE)
    folders = ("VOCdevkit", "trainval")
    unknown_values = (60,)
    cached = 3
    mat_files = {MAT: "LabelMap"}
    wrong_mat_files = [
        (MAT, {"LabelMap": np.full((60, 80), 460, np.uint16)}, " 460 in 4800 pixels"),
        (MAT, {"LabelMap": np.full((60, 80), 1.5)}, "float64"),
    ]


class TestMatFiles59(MatFiles):
    name, dataset = "pascal_context59", PascalContext59

    def mask_of(self, name):
        return without_background(layout.mask_of(name))


class TestMatFiles(MatFiles):
    name, dataset = "pascal_context", PascalContext

    def test_facts(self):
        assert PascalContext.classes.names == ("background", *layout.OBJECTS, *layout.OTHERS)
        assert PascalContext59.classes.names == layout.OBJECTS + layout.OTHERS
        assert PascalContext59.classes.palette == PascalContext.classes.palette[1:]
        assert PascalContext.split_sizes == PascalContext59.split_sizes == {"train": 4998, "val": 5105}

    def test_59_classes_share_the_cache(self, root):
        assert PascalContext59(root, "val").samples == PascalContext(root, "val").samples
        assert np.array_equal(PascalContext(root, "val").read(0)[1], layout.mask_of("2008_000002"))

    def test_label_map_of_another_integer_type(self, root):
        # MATLAB writes an array of doubles in the smallest type that represents its values.
        scipy.io.savemat(root / MAT, {"LabelMap": layout.labels_of(FIRST).astype(np.int16)})
        assert np.array_equal(self.open(root).read(0)[1], layout.mask_of(FIRST))

    def test_mat_files_have_priority(self, root):
        for name, size in layout.SIZES.items():
            write_image(root / MASKS / f"{name}.png", np.zeros(size, np.uint8))
        assert np.array_equal(self.open(root).read(0)[1], layout.mask_of(FIRST))

    @pytest.mark.parametrize("folder", ["VOCdevkit", VOC])
    def test_masks_in_another_folder(self, root, folder):
        for name in "trainval", "labels.txt":
            shutil.move(root / name, root / folder)
        dataset = self.open(root / "VOCdevkit" if folder == "VOCdevkit" else root, "val")
        assert np.array_equal(dataset.read(0)[1], layout.mask_of("2008_000002"))

    def test_labels_txt_is_optional_and_may_have_the_names_of_the_task(self, root):
        path = root / "labels.txt"
        path.write_text(path.read_text().replace(": table\n", ": diningtable\n").replace(": cloth\n", ": clothes\n"))
        assert len(self.open(root, "val")) == 3
        path.unlink()
        assert len(self.open(root, "val")) == 3

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            ("397: table\n", "397: tablecloth\n", "label 397 is tablecloth, but table"),
            ("2: aeroplane\n", "", "label 2 is missing, but aeroplane"),
            ("458: wood\n", "wood\n", "label 458 is missing, but wood"),
        ],
    )
    def test_labels_txt_with_other_labels(self, root, old, new, problem):
        path = root / "labels.txt"
        content = path.read_text()
        assert content.count("\n" + old) == 1
        path.write_text(content.replace("\n" + old, "\n" + new))
        self.refuses_to_open(root, path, problem)


class TestConvertedByName(DatasetBehavior):
    """The form of MMSegmentation's converter, with class ids in the order of names."""

    name, dataset, layout = "pascal_context", PascalContext, layout
    lists = (f"{VOC}/ImageSets/SegmentationContext/train.txt",)
    files = (*lists, f"{MASKS}/{FIRST}.png", IMAGE)
    folders = (MASKS,)
    unknown_values = (60,)
    encoded = staticmethod(layout.alphabetical_mask_of)

    def build(self, root):
        layout.build_converted(root, {name: self.encoded(name) for name in layout.SIZES})

    def test_masks_may_have_void(self, root):
        path = root / MASKS / f"{FIRST}.png"
        stored = np.array(Image.open(path))
        stored[:3] = 255
        write_image(path, stored)
        for dataset, expected in (
            (PascalContext(root, "train"), layout.mask_of(FIRST)),
            (PascalContext59(root, "train"), without_background(layout.mask_of(FIRST))),
        ):
            mask = dataset.read(0)[1]
            assert (mask[:3] == 255).all() and np.array_equal(mask[3:], expected[3:])

    @pytest.mark.parametrize("split", layout.SPLITS)
    def test_lists_of_one_split_are_sufficient_to_detect_the_order(self, root, split):
        for listing in (root / VOC / "ImageSets/Main").glob("*_trainval.txt"):
            listing.unlink()
        assert np.array_equal(self.open(root, split).read(0)[1], layout.mask_of(layout.SPLITS[split][0]))

    def test_order_is_detected_from_some_of_the_images(self, root, monkeypatch):
        monkeypatch.setattr(pascal_context, "_IMAGES", 2)
        (root / MASKS / "2008_000015.png").write_bytes(b"")
        dataset = self.open(root)
        assert np.array_equal(dataset.read(0)[1], layout.mask_of(FIRST))
        with refused("2008_000015"):
            dataset.read(1)

    def test_lists_without_objects(self, root):
        listings = list((root / VOC / "ImageSets/Main").glob("*_*.txt"))
        for listing in listings:  # difficult or absent objects
            listing.write_text(listing.read_text().replace("  1", "  0"))
        self.refuses_to_open(root, "cannot determine", "0 support")
        for listing in listings:
            listing.unlink()
        self.refuses_to_open(root, "cannot determine", "0 support")

    def test_trainval_of_pascal_part_is_ignored(self, root):
        (root / "trainval" / "Annotations_Part").mkdir(parents=True)
        assert np.array_equal(self.open(root).read(0)[1], layout.mask_of(FIRST))


class TestConvertedByTask(TestConvertedByName):
    """The form of MMSegmentation's converter, with class ids in the order of the task."""

    encoded = staticmethod(layout.mask_of)


@pytest.mark.parametrize(
    "encoded",
    [
        lambda name: np.random.default_rng(0).permutation(60).astype(np.uint8)[layout.mask_of(name)],
        lambda name: layout.mask_of(name) if name == FIRST else layout.alphabetical_mask_of(name),
    ],
    ids=["neither order", "both orders"],
)
def test_masks_without_a_common_order(tmp_path, encoded):
    layout.build_converted(tmp_path, {name: encoded(name) for name in layout.SIZES})
    with refused("cannot determine", tmp_path / MASKS, PascalContext.source):
        PascalContext(tmp_path, "train")
