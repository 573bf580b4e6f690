"""Cityscapes: images and fine labels by split and city."""

from pathlib import Path

import numpy as np

from helpers.layouts.files import generator, write_image, write_photo

SIZES = {
    "train/aachen/aachen_000000_000019": (60, 80),
    "train/aachen/aachen_000001_000019": (60, 80),
    "train/hanover/hanover_000000_000164": (56, 96),
    "val/frankfurt/frankfurt_000000_000294": (60, 80),
    "val/munster/munster_000000_000019": (64, 72),
    "test/berlin/berlin_000000_000019": (60, 80),
}
SPLITS = {split: [path.rpartition("/")[2] for path in SIZES if path.startswith(split)] for split in ("train", "val")}
# Official label id of each train id; all other ids in 0..33 are void.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16,
    32: 17, 33: 18,
}  # fmt: skip


def labels_of(name: str) -> np.ndarray:
    """Official label ids, uint8 in 0..33, and 255, which stands for the license plate's -1."""
    labels = generator(name).integers(0, 35, SIZES[_path(name)], np.uint8)
    return np.where(labels == 34, np.uint8(255), labels)


def mask_of(name: str) -> np.ndarray:
    return np.vectorize(lambda label: TRAIN_IDS.get(label, 255))(labels_of(name))


def image_path(name: str) -> str:
    return f"leftImg8bit/{_path(name)}_leftImg8bit.png"


def label_path(name: str) -> str:
    return f"gtFine/{_path(name)}_gtFine_labelIds.png"


def build(root: Path) -> None:
    for path, size in SIZES.items():
        name = path.rpartition("/")[2]
        write_photo(root / image_path(name), size)
        # The labels of the test split are empty: all pixels are "out of roi".
        labels = np.full(size, 3, np.uint8) if path.startswith("test") else labels_of(name)
        write_image(root / label_path(name), labels)
        write_image(root / label_path(name).replace("labelIds", "instanceIds"), labels.astype(np.uint16))


def _path(name: str) -> str:
    return next(path for path in SIZES if path.endswith(f"/{name}"))
