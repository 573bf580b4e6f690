"""PASCAL VOC 2012 and SBD."""

import shutil

import numpy as np
import pytest
from helpers.dataset_behavior import CachedDatasetBehavior
from helpers.layouts import voc2012 as layout
from helpers.layouts.files import color_map
from helpers.layouts.voc2012 import SBD, VOC
from PIL import Image

from refinenet_pl.datasets.classes import VOC_PALETTE
from refinenet_pl.datasets.voc import VOC2012, VOC_CLASSES

MASK, MAT = f"{VOC}/SegmentationClass/2007_000032.png", f"{SBD}/cls/2008_000015.mat"


class TestVOC2012(CachedDatasetBehavior):
    name, dataset, layout = "voc2012", VOC2012, layout
    split = "train_aug"
    lists = (f"{VOC}/ImageSets/Segmentation/train.txt", f"{SBD}/val.txt")
    files = (*lists, f"{VOC}/JPEGImages/2007_000032.jpg", MASK, f"{SBD}/img/2008_000015.jpg")
    folders = ("benchmark_RELEASE", "VOCdevkit")
    unknown_values = (21,)
    cached = len(layout.ONLY_SBD)
    mat_files = {MAT: "GTcls"}
    wrong_mat_files = [
        (MAT, {"GTcls": {"Boundaries": np.zeros((60, 80), np.uint8)}}, "Segmentation"),
        (MAT, {"GTcls": np.zeros((60, 80), np.uint8)}, "Segmentation"),
        (MAT, {"GTcls": {"Segmentation": np.full((60, 80), 0.5)}}, "float64"),
        (MAT, {"GTcls": {"Segmentation": np.full((60, 80), -1, np.int16)}}, "int16"),
        (MAT, {"GTcls": {"Segmentation": np.zeros((60, 80, 3), np.uint8)}}, "(60, 80, 3)"),
        (MAT, {"GTcls": {"Segmentation": np.full((60, 80), 21, np.uint8)}}, " 21 in 4800 pixels"),
    ]

    def test_palette(self):
        assert [value for color in VOC_PALETTE for value in color] == color_map()
        colors = dict(zip(VOC_CLASSES, VOC2012.classes.palette, strict=True))
        assert colors["aeroplane"] == (128, 0, 0) and colors["tvmonitor"] == (0, 64, 128)

    def test_train_aug_has_files_of_voc_and_of_sbd(self, root):
        for sample in self.open(root).samples:
            own = sample.name in layout.TRAIN
            assert sample.mask.parent == root / (f"{VOC}/SegmentationClass" if own else "refinenet_pl_cache/sbd")
            assert sample.image.parent == root / (f"{VOC}/JPEGImages" if own else f"{SBD}/img")

    def test_sbd_is_required_for_train_aug_only(self, root):
        shutil.rmtree(root / "benchmark_RELEASE")
        assert len(self.open(root, "train")) == 2 and len(self.open(root, "trainval")) == 5

    @pytest.mark.parametrize("inner", ["VOCdevkit", VOC])
    @pytest.mark.parametrize("split", ["val", "train_aug"])
    def test_root_may_be_an_inner_folder(self, root, inner, split):
        assert [sample.name for sample in self.open(root / inner, split).samples] == list(layout.SPLITS[split])

    def test_root_may_be_a_link_or_have_the_name_of_an_inner_folder(self, root, tmp_path):
        (tmp_path / "link").symlink_to(root / VOC)
        assert len(self.open(tmp_path / "link", "val")) == 3
        shutil.move(root / "VOCdevkit", root / "VOC2012" / "VOCdevkit")
        assert len(self.open(root / "VOC2012", "val")) == 3

    def test_root_next_to_the_development_kit(self, root):
        (root / "other").mkdir()
        self.refuses_to_open(root / "other", root / "other", VOC, VOC2012.source)

    def test_mask_with_another_palette(self, root):
        Image.open(root / MASK).convert("RGB").quantize(64).save(root / MASK)
        self.refuses_to_read(self.open(root, "train"), root / MASK, "palette")
