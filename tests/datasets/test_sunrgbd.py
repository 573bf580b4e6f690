"""SUN RGB-D."""

import os

import h5py
import numpy as np
import pytest
import scipy.io
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
    hdf5_files = (MASKS,)

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
        layout.write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[index]}/" for index in layout.TRAIN])
        layout.write_metadata(root, [path.replace("/image/", "//image/") for path in PATHS])
        dataset = self.open(root)
        assert [sample.name for sample in dataset.samples] == layout.SPLITS["train"]
        assert np.array_equal(dataset.read(0)[1], layout.mask_of(NAMES[layout.TRAIN[0]]))

    def test_single_sample(self, root):
        layout.write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[3]}"])
        dataset = self.open(root)
        assert len(dataset) == 1 and np.array_equal(dataset.read(0)[1], layout.mask_of(NAMES[3]))

    def test_metadata_without_paths(self, root):
        scipy.io.savemat(root / METADATA, {"SUNRGBDMeta": {"rgbname": "a.jpg"}})
        message = self.opening_error(root)
        assert str(root / METADATA) in message and "rgbpath" in message

    def test_file_without_masks(self, root):
        with h5py.File(root / MASKS, "r+") as file:
            del file["SUNRGBD2Dseg/seglabel"]
        message = self.opening_error(root)
        assert str(root / MASKS) in message and "seglabel" in message

    @pytest.mark.parametrize("count", [5, 7])
    def test_another_number_of_masks(self, root, count):
        layout.write_masks(root, [layout.labels_of(NAMES[0])] * count)
        message = self.opening_error(root)
        assert str(root / MASKS) in message and f"({count}, 1)" in message and "6 samples" in message

    @pytest.mark.parametrize("path", ["/home/me/SUNRGBD/kv1/NYUdata/NYU0001", "kv1/NYUdata/NYU0001", 17.0])
    def test_list_of_other_paths(self, root, path):
        layout.write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[0]}", path])
        message = self.opening_error(root)
        assert str(root / LIST) in message and repr(path) in message and AUTHORS_DISK in message

    def test_folder_missing_in_the_metadata(self, root):
        layout.write_split(root, [f"{AUTHORS_DISK}/kv1/NYUdata/NYU9999"])
        message = self.opening_error(root)
        assert str(root / LIST) in message and "NYU9999" in message and str(root / METADATA) in message

    def test_folder_listed_twice(self, root):
        layout.write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[index]}" for index in (0, 3, 0)])
        message = self.opening_error(root)
        assert str(root / LIST) in message and "twice" in message

    @pytest.mark.parametrize(
        ("mask", "problem"),
        [
            (np.zeros((60, 80), np.float64), "float64"),
            (np.full((60, 80), -1, np.int16), "int16"),
            (np.zeros(2, np.uint64), "uint64"),
            (np.full((72, 64), 38, np.uint8), " 38 in 4608 pixels"),
        ],
        ids=["float", "negative", "one axis", "unknown label"],
    )
    def test_wrong_mask(self, root, mask, problem):
        masks = [layout.labels_of(name) for name in NAMES]
        layout.write_masks(root, [*masks[:4], mask, masks[5]])
        message = self.opening_error(root)
        assert f"{root / MASKS}: SUNRGBD2Dseg(5).seglabel" in message and problem in message
