"""Cityscapes."""

import shutil
import zipfile

import numpy as np
import pytest
from helpers.dataset_behavior import DatasetBehavior
from helpers.layouts import cityscapes as layout
from helpers.layouts.files import write_image

from refinenet_pl.datasets.cityscapes import LABEL_IDS, Cityscapes

FIRST = layout.SPLITS["val"][0]
IMAGE, LABELS = layout.image_path(FIRST), layout.label_path(FIRST)


class TestCityscapes(DatasetBehavior):
    name, dataset, layout = "cityscapes", Cityscapes, layout
    split = "val"
    files = (LABELS,)
    split_folders = ("leftImg8bit/val", "gtFine/val")
    folders = ("leftImg8bit", "gtFine", *split_folders)
    unknown_values = (34, 254)

    def test_facts(self):
        assert Cityscapes.classes.names == (
            "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
            "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
        )  # fmt: skip
        assert Cityscapes.classes.palette[0] == (128, 64, 128) and Cityscapes.classes.palette[18] == (119, 11, 32)
        assert Cityscapes.split_sizes == {"train": 2975, "val": 500} and Cityscapes.unlabeled_sizes == {"test": 1525}
        assert (Cityscapes.void_channel, Cityscapes.short_edge) == ("last", (600, 1100))
        assert {label_id: class_id for class_id, label_id in enumerate(LABEL_IDS)} == layout.TRAIN_IDS
        assert set(np.unique(layout.labels_of(FIRST))) == {*range(34), 255}, "the copy contains all ids"

    def test_archives_are_not_unpacked(self, root):
        """torchvision would unpack them, in every process of a run."""
        for part in "leftImg8bit", "gtFine":
            with zipfile.ZipFile(root / f"{part}_trainvaltest.zip", "w") as archive:
                for file in (root / part).rglob("*.png"):
                    archive.write(file, file.relative_to(root))
            shutil.rmtree(root / part)
        assert "'leftImg8bit/val'" in self.opening_error(root)
        assert not (root / "leftImg8bit").exists()

    @pytest.mark.parametrize(
        "other",
        [
            "leftImg8bit/val/.DS_Store",
            "leftImg8bit/val/notes.txt",
            "leftImg8bit/val/aachen/._x_leftImg8bit.png",
            "gtFine/val/aachen/._x_gtFine_labelIds.png",
            "leftImg8bit/val/.ipynb_checkpoints/x_leftImg8bit.png",
            "gtFine/val/.ipynb_checkpoints/x_gtFine_labelIds.png",
        ],
    )
    def test_files_of_other_programs_are_ignored(self, root, other):
        samples = self.open(root).samples
        (root / other).parent.mkdir(exist_ok=True)
        (root / other).touch()
        assert self.open(root).samples == samples

    def test_labels_without_an_image(self, root):
        (root / IMAGE).unlink()
        message = self.opening_error(root)
        assert str(root / LABELS) in message and "no image" in message

    def test_files_with_train_ids_are_neither_required_nor_read(self, root):
        """Some copies contain them, written by a script of the dataset's authors."""
        for split in "train", "val":
            for name in layout.SPLITS[split]:
                write_image(root / layout.label_path(name).replace("labelIds", "labelTrainIds"), np.zeros((2, 2), np.uint8))
        dataset = self.open(root)
        assert len(dataset) == 2 and np.array_equal(dataset.read(0)[1], layout.mask_of(FIRST))
