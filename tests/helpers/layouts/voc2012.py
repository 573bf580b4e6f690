"""PASCAL VOC 2012 with SBD: the development kit, and the folder benchmark_RELEASE."""

from pathlib import Path

import numpy as np
import scipy.io

from helpers.layouts.files import generator, write_lines, write_palette_mask, write_photo

VOC, SBD = "VOCdevkit/VOC2012", "benchmark_RELEASE/dataset"
SIZES = {
    "2007_000032": (56, 80),
    "2007_000033": (60, 80),
    "2007_000039": (72, 60),
    "2007_000042": (54, 80),
    "2007_000061": (60, 80),
    "2008_000008": (64, 76),
    "2008_000015": (60, 80),
    "2008_000028": (80, 60),
}
TRAIN = ("2007_000032", "2007_000039")
VAL = ("2007_000033", "2007_000042", "2007_000061")
# SBD has its own labels for images of both splits of VOC.
SBD_TRAIN = ("2008_000008", "2007_000033", "2007_000039", "2008_000028")
SBD_VAL = ("2007_000042", "2008_000015", "2007_000032")
ONLY_SBD = ("2008_000008", "2008_000028", "2008_000015")
SPLITS = {"train": TRAIN, "val": VAL, "trainval": sorted(TRAIN + VAL), "train_aug": (*TRAIN, *ONLY_SBD)}


def mask_of(name: str) -> np.ndarray:
    """VOC's mask, uint8: 0 to 20, and 255 for void; SBD's mask for images without one."""
    if name in ONLY_SBD:
        return sbd_mask_of(name)
    ids = generator(name).integers(0, 22, SIZES[name], np.uint8)
    return np.where(ids == 21, np.uint8(255), ids)


def sbd_mask_of(name: str) -> np.ndarray:
    """SBD's mask, uint8: 0 to 20, different from VOC's."""
    return generator(name, 1).integers(0, 21, SIZES[name], np.uint8)


def image_path(name: str) -> str:
    return f"{SBD}/img/{name}.jpg" if name in ONLY_SBD else f"{VOC}/JPEGImages/{name}.jpg"


def build(root: Path) -> None:
    voc, sbd = root / VOC, root / SBD
    for split in "train", "val", "trainval":
        write_lines(voc / f"ImageSets/Segmentation/{split}.txt", SPLITS[split])
    for name, size in SIZES.items():
        write_photo(voc / f"JPEGImages/{name}.jpg", size)
    for name in TRAIN + VAL:
        write_palette_mask(voc / f"SegmentationClass/{name}.png", mask_of(name))
    write_lines(sbd / "train.txt", SBD_TRAIN)
    write_lines(sbd / "val.txt", SBD_VAL)
    for name in SBD_TRAIN + SBD_VAL:
        write_photo(sbd / f"img/{name}.jpg", SIZES[name])
        write_sbd_mask(sbd / f"cls/{name}.mat", sbd_mask_of(name))


def write_sbd_mask(path: Path, mask: np.ndarray) -> None:
    """Write the struct GTcls, without its boundaries."""
    truth = {"Segmentation": mask, "CategoriesPresent": np.unique(mask[mask > 0])[:, None]}
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"GTcls": truth}, do_compression=True)
