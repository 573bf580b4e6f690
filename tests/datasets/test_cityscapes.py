"""Cityscapes."""

import numpy as np
from helpers.dataset_behavior import DatasetBehavior
from helpers.files import touch
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

    def test_files_of_other_programs_are_ignored(self, root):
        samples = self.open(root).samples
        checkpoints = (
            "leftImg8bit/val/.ipynb_checkpoints/x_leftImg8bit.png",
            "gtFine/val/.ipynb_checkpoints/x_gtFine_labelIds.png",
        )
        touch(root, "leftImg8bit/val/notes.txt", *checkpoints)
        assert self.open(root).samples == samples

    def test_labels_without_an_image(self, root):
        (root / IMAGE).unlink()
        self.refuses_to_open(root, root / LABELS, "no image")

    def test_files_with_train_ids_are_neither_required_nor_read(self, root):
        """Some copies contain them, written by a script of the dataset's authors."""
        for split in "train", "val":
            for name in layout.SPLITS[split]:
                write_image(root / layout.label_path(name).replace("labelIds", "labelTrainIds"), np.zeros((2, 2), np.uint8))
        dataset = self.open(root)
        assert len(dataset) == 2 and np.array_equal(dataset.read(0)[1], layout.mask_of(FIRST))
