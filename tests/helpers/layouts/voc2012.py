"""PASCAL VOC 2012 with SBD: the development kit of the one, and the folder benchmark_RELEASE of the other."""

from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse
from PIL import Image

# Size (height, width) of each picture.
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
# SBD labels pictures of both splits of VOC anew.
SBD_TRAIN = ("2008_000008", "2007_000033", "2007_000039", "2008_000028")
SBD_VAL = ("2007_000042", "2008_000015", "2007_000032")
TRAIN_AUG = (*TRAIN, "2008_000008", "2008_000028", "2008_000015")


def color_map() -> list[int]:
    """The development kit's, as it is computed there: 256 colours, one value after another."""
    values = []
    for label in range(256):
        red = green = blue = 0
        for place in range(7, -1, -1):
            red |= (label & 1) << place
            green |= (label >> 1 & 1) << place
            blue |= (label >> 2 & 1) << place
            label >>= 3
        values += [red, green, blue]
    return values


def mask_of(name: str) -> np.ndarray:
    """VOC's mask, uint8: 0 to 20, and 255 for void."""
    ids = np.random.default_rng(int(name[-6:])).integers(0, 22, SIZES[name], np.uint8)
    return np.where(ids == 21, np.uint8(255), ids)


def sbd_mask_of(name: str) -> np.ndarray:
    """SBD's mask, uint8: 0 to 20, other than VOC's."""
    return np.random.default_rng(1000 + int(name[-6:])).integers(0, 21, SIZES[name], np.uint8)


def build(root: Path) -> None:
    voc = root / "VOCdevkit" / "VOC2012"
    write_lines(voc / "ImageSets" / "Segmentation" / "train.txt", TRAIN)
    write_lines(voc / "ImageSets" / "Segmentation" / "val.txt", VAL)
    write_lines(voc / "ImageSets" / "Segmentation" / "trainval.txt", sorted(TRAIN + VAL))
    for name, size in SIZES.items():
        write_picture(voc / "JPEGImages" / f"{name}.jpg", size, int(name[-6:]))
    for name in TRAIN + VAL:
        write_palette_mask(voc / "SegmentationClass" / f"{name}.png", mask_of(name))
    sbd = root / "benchmark_RELEASE" / "dataset"
    write_lines(sbd / "train.txt", SBD_TRAIN)
    write_lines(sbd / "val.txt", SBD_VAL)
    for name in SBD_TRAIN + SBD_VAL:
        write_picture(sbd / "img" / f"{name}.jpg", SIZES[name], int(name[-6:]))
        write_sbd_mask(sbd / "cls" / f"{name}.mat", sbd_mask_of(name))


def write_lines(path: Path, lines: tuple[str, ...] | list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_picture(path: Path, size: tuple[int, int], seed: int) -> None:
    """Write a JPEG of coarse random colours, of which it keeps about what it is given."""
    height, width = size
    colours = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]).save(path, quality=95)


def write_palette_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask)
    picture.putpalette(color_map())  # makes it a palette picture
    picture.save(path)


def write_sbd_mask(path: Path, mask: np.ndarray) -> None:
    """Write the struct GTcls; the boundaries, one sparse array a class, are as good as empty here."""
    boundaries = np.empty((20, 1), object)
    for row in boundaries:
        row[0] = scipy.sparse.csc_matrix(([1.0], ([0], [0])), shape=mask.shape)
    truth = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": np.unique(mask[mask > 0])[:, None]}
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"GTcls": truth}, do_compression=True)
