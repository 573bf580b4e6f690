"""SUN RGB-D."""

import os

import numpy as np
import pytest
from helpers.dataset_behavior import CachedDatasetBehavior
from helpers.layouts import sunrgbd as layout
from helpers.layouts.sunrgbd import AUTHORS_DISK, FOLDERS, NAMES, PATHS

from refinenet_pl.datasets.nyud import NYUDv2
from refinenet_pl.datasets.sunrgbd import SUNRGBD

LIST = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
METADATA = "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat"
MASKS = "SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat"


class TestSUNRGBD(CachedDatasetBehavior):
    name, dataset, layout = "sunrgbd", SUNRGBD, layout
    val_split = "test"
    files = (layout.image_path(NAMES[0]),)
    folders = ("SUNRGBD", "SUNRGBDtoolbox")
    unknown_values = (37,)
    cached = len(layout.TRAIN)
    mat_files = {LIST: "alltrain", METADATA: "SUNRGBDMeta"}
    wrong_mat_files = [(METADATA, {"SUNRGBDMeta": {"rgbname": "a.jpg"}}, "rgbpath")]
    hdf5_files = {MASKS: ("SUNRGBD2Dseg/seglabel",)}

    def test_facts(self):
        assert SUNRGBD.classes.names == NYUDv2.classes.names[:37] and SUNRGBD.classes.names[36] == "bag"
        assert SUNRGBD.classes.palette[0] == (128, 0, 0) and len(SUNRGBD.classes.palette) == 37
        assert SUNRGBD.split_sizes == {"train": 5285, "test": 5050}
        assert (SUNRGBD.void_channel, SUNRGBD.short_edge) == ("first", (450, 800))

    def test_changed_metadata_renews_masks(self, root):
        """Masks match samples by their position in the metadata."""
        self.open(root)
        layout.write_metadata(root, [PATHS[2], PATHS[1], PATHS[0], *PATHS[3:]])
        later = os.stat(root / MASKS).st_mtime + 10
        os.utime(root / METADATA, (later, later))
        assert np.array_equal(self.open(root).read(layout.TRAIN.index(0))[1], layout.mask_of(NAMES[2]))

    def test_additional_slashes(self, root):
        expected = self.open(root).samples
        layout.write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[index]}/" for index in layout.TRAIN])
        layout.write_metadata(root, [path.replace("/image/", "//image/") for path in PATHS])
        assert self.open(root).samples == expected

    def test_single_sample(self, root):
        layout.write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[3]}"])
        dataset = self.open(root)
        assert len(dataset) == 1 and np.array_equal(dataset.read(0)[1], layout.mask_of(NAMES[3]))

    @pytest.mark.parametrize("count", [5, 7])
    def test_another_number_of_masks(self, root, count):
        layout.write_masks(root, [layout.labels_of(NAMES[0])] * count)
        self.refuses_to_open(root, root / MASKS, f"({count}, 1)", "6 samples")

    @pytest.mark.parametrize("path", ["/home/me/SUNRGBD/kv1/NYUdata/NYU0001", "kv1/NYUdata/NYU0001", 17.0])
    def test_list_of_other_paths(self, root, path):
        layout.write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[0]}", path])
        self.refuses_to_open(root, root / LIST, repr(path), AUTHORS_DISK)

    def test_folder_missing_in_the_metadata(self, root):
        layout.write_split(root, [f"{AUTHORS_DISK}/kv1/NYUdata/NYU9999"])
        self.refuses_to_open(root, root / LIST, "NYU9999", root / METADATA)

    def test_folder_listed_twice(self, root):
        layout.write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[index]}" for index in (0, 3, 0)])
        self.refuses_to_open(root, root / LIST, "twice")

    @pytest.mark.parametrize(
        ("mask", "problem"),
        [
            (np.zeros((60, 80), np.float64), "float64"),
            (np.full((72, 64), 38, np.uint8), " 38 in 4608 pixels"),
        ],
    )
    def test_wrong_mask(self, root, mask, problem):
        masks = [layout.labels_of(name) for name in NAMES]
        layout.write_masks(root, [*masks[:4], mask, masks[5]])
        self.refuses_to_open(root, f"{root / MASKS}: SUNRGBD2Dseg(5).seglabel", problem)
