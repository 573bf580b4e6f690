"""NYU Depth v2."""

import os

import h5py
import numpy as np
import pytest
import scipy.io
from helpers.dataset_behavior import CachedDatasetBehavior, pngs_in
from helpers.layouts import nyudv2 as layout
from helpers.layouts.nyudv2 import MAP_CLASS as MAP

from refinenet_pl.datasets.nyud import NYUDv2

LABELED, NUMBERS, MAPPING = "nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"


class TestNYUDv2(CachedDatasetBehavior):
    name, dataset, layout = "nyudv2", NYUDv2, layout
    val_split = "test"
    unknown_values = (40,)
    cached = 2 * len(layout.TRAIN)
    mat_files = {NUMBERS: "trainNdxs", MAPPING: "mapClass"}
    wrong_mat_files = [
        (NUMBERS, {"trainNdxs": np.array(numbers)}, "trainNdxs must contain distinct numbers in 1..7")
        for numbers in ([[3], [0]], [[3], [8]], [[3], [3]], [[3], [2.5]], [[3, 1], [2, 4]], [["one"], ["two"]])
    ] + [
        (MAPPING, {"mapClass": mapping[None].astype(np.uint8)}, "894 numbers in 1..40")
        for mapping in (MAP[:893], np.append(MAP, 1), MAP - 1, MAP + 1)
    ]
    hdf5_files = {LABELED: ("images", "labels")}

    def image_of(self, root, name):
        return layout.image_of(name)

    def test_facts(self):
        assert NYUDv2.classes.names == layout.CLASS_NAMES
        assert NYUDv2.classes.palette[:3] == ((128, 0, 0), (0, 128, 0), (128, 128, 0))
        assert NYUDv2.classes.palette[39] == (64, 0, 64)
        assert NYUDv2.split_sizes == {"train": 795, "test": 654}
        assert (NYUDv2.void_channel, NYUDv2.short_edge) == ("last", (450, 800))

    @pytest.mark.parametrize(("crop", "part"), [("border", np.s_[6:474, 7:632]), ("valid", np.s_[44:471, 40:601])])
    def test_crop(self, root, crop, part):
        layout.write_labeled(root / LABELED, 480, 640)
        name = layout.SPLITS["test"][1]
        assert self.open(root, "test").read(1)[1].shape == (480, 640)
        image, mask = self.open(root, "test", crop=crop).read(1)
        assert np.array_equal(image, layout.image_of(name, 480, 640)[part])
        assert np.array_equal(mask, layout.mask_of(name, 480, 640)[part])
        assert mask.shape == {"border": (468, 625), "valid": (427, 561)}[crop]

    @pytest.mark.parametrize("crop", ["border", "valid"])
    def test_crop_of_images_of_another_size(self, root, crop):
        self.refuses_to_read(self.open(root, "test", crop=crop), "0002.png", f"crop: {crop} is for images of 640x480")

    @pytest.mark.parametrize("crop", ["white", True, False, "", [468, 625]])
    def test_unknown_crop(self, root, crop):
        self.refuses_to_open(root, repr(crop), "border or valid", crop=crop)

    @pytest.mark.parametrize("former", [True, False])
    def test_former_option_names_its_replacement(self, root, former):
        self.refuses_to_open(root, "crop_border is now named crop", crop_border=former)

    def test_another_mapping_renews_masks_but_not_images(self, root):
        self.open(root)
        before = pngs_in(root)
        scipy.io.savemat(root / MAPPING, {"mapClass": (41 - MAP)[None]})
        later = os.stat(root / LABELED).st_mtime + 10
        os.utime(root / MAPPING, (later, later))
        expected = layout.mask_of("0003")
        assert np.array_equal(self.open(root).read(0)[1], np.where(expected == 255, 255, 39 - expected))
        after = pngs_in(root)
        assert {path.parent.name for path in before if before[path] != after[path]} == {"masks"}

    @pytest.mark.parametrize(
        ("name", "shape", "dtype"),
        [
            ("images", (7, 60, 80, 3), np.uint8),
            ("images", (7, 3, 80, 60), np.float32),
            ("images", (7, 80, 60), np.uint8),
            ("images", (6, 3, 80, 60), np.uint8),
            ("labels", (6, 80, 60), np.uint16),
            ("labels", (7, 80, 60), np.float64),
        ],
    )
    def test_array_of_another_shape_or_dtype(self, root, name, shape, dtype):
        with h5py.File(root / LABELED, "r+") as file:
            del file[name]
            file[name] = np.zeros(shape, dtype)
        self.refuses_to_open(root, root / LABELED, f"{np.dtype(dtype)} {shape}")

    def test_single_number(self, root):
        scipy.io.savemat(root / NUMBERS, {"trainNdxs": np.array([[7]], np.uint16)})
        assert [sample.name for sample in self.open(root).samples] == ["0007"]

    def test_label_outside_the_mapping(self, root):
        with h5py.File(root / LABELED, "r+") as file:
            file["labels"][4, 10, 20] = 895
        self.refuses_to_open(root, f"{root / LABELED}: labels(:, :, 5)", " 895 in 1 pixel")
