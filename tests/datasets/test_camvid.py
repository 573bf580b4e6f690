"""CamVid in the SegNet layout."""

import numpy as np
import pytest
from helpers.dataset_behavior import DatasetBehavior
from helpers.layouts import camvid as layout
from helpers.layouts.camvid import HEIGHT, WIDTH
from helpers.layouts.files import write_image

from refinenet_pl.datasets.camvid import CamVid
from refinenet_pl.visualization.samples import plot_sample


class TestCamVid(DatasetBehavior):
    name, dataset, layout = "camvid", CamVid, layout
    split = "val"
    files = ("val.txt", "val/d.png", "valannot/d.png")
    lists = ("val.txt",)
    unknown_values = (12, 255)

    def test_one_weight_per_class(self):
        assert len(CamVid.class_weights) == len(CamVid.classes) and min(CamVid.class_weights) > 0

    @pytest.mark.parametrize("line", ["/SegNet/CamVid/val/d.png", "val/d.png valannot/d.png 1", "val/d.png,valannot/d.png"])
    def test_malformed_line(self, root, line):
        listing = root / "val.txt"
        listing.write_text(listing.read_text() + line + "\n")
        self.refuses_to_open(root, f"{listing}:2", repr(line))

    def test_folder_in_place_of_a_file(self, root):
        (root / "val/d.png").unlink()
        (root / "val/d.png").mkdir()
        self.refuses_to_open(root, root / "val/d.png")

    def test_plot_names_the_classes_that_occur(self, root):
        mask = np.full((HEIGHT, WIDTH), 11, np.uint8)
        mask[:4] = 3
        write_image(root / "valannot/d.png", mask)
        assert [axis.get_title() for axis in plot_sample(self.open(root), 0).axes] == ["image", "ground truth"]
        figure = plot_sample(self.open(root), 0, np.full((HEIGHT, WIDTH), 8))
        assert [axis.get_title() for axis in figure.axes] == ["image", "ground truth", "prediction"]
        image, truth, prediction = (axis.images[0].get_array() for axis in figure.axes)
        assert np.array_equal(image, self.image_of(root, "d")) and prediction[0, 0].tolist() == [64, 0, 128]
        assert truth[0, 0].tolist() == [128, 64, 128] and truth[-1, 0].tolist() == [0, 0, 0]
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["road", "car"]


class TestOfficialFiles:
    def test_no_image_is_in_two_splits(self, camvid_root):
        splits = [CamVid(camvid_root, split) for split in CamVid.split_sizes]
        names = [split.name(index) for split in splits for index in range(len(split))]
        assert len(set(names)) == 701

    def test_validation_pixels_of_each_class(self, camvid_root):
        dataset = CamVid(camvid_root, "val")
        counts = np.zeros(12, np.int64)
        for index in range(len(dataset)):
            image, mask = dataset.read(index)
            assert image.shape == (360, 480, 3)
            counts += np.bincount(mask.ravel(), minlength=12)
        assert counts.tolist() == [
            1601620, 4531180, 98499, 5053176, 1521751, 2851125, 155724, 537197, 304716, 113531, 387010, 297271,
        ]  # fmt: skip
