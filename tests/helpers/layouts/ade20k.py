"""ADE20K of the scene parsing challenge: images and annotations by split."""

from pathlib import Path

import numpy as np

from helpers.layouts.files import generator, write_image, write_photo

HOME = "ADEChallengeData2016"
SIZES = {
    "ADE_train_00000001": (64, 80),
    "ADE_train_00000002": (60, 80),
    "ADE_train_00000010": (80, 56),
    "ADE_val_00000001": (60, 90),
    "ADE_val_00000002": (60, 80),
}
SPLITS = {"train": list(SIZES)[:3], "val": list(SIZES)[3:]}
# A few images of the dataset are grayscale.
GRAY = "ADE_train_00000002"


def annotation_of(name: str) -> np.ndarray:
    """Official classes, uint8: 1 to 150, and 0 for everything else."""
    return generator(name).integers(0, 151, SIZES[name], np.uint8)


def mask_of(name: str) -> np.ndarray:
    annotation = annotation_of(name).astype(int)
    return np.where(annotation == 0, 255, annotation - 1)


def image_path(name: str) -> str:
    return f"{HOME}/images/{_folder(name)}/{name}.jpg"


def annotation_path(name: str) -> str:
    return f"{HOME}/annotations/{_folder(name)}/{name}.png"


def build(root: Path) -> None:
    for name in reversed(SIZES):  # so that the order on disk is not that of the names
        write_photo(root / image_path(name), SIZES[name], "L" if name == GRAY else "RGB")
        write_image(root / annotation_path(name), annotation_of(name))


def _folder(name: str) -> str:
    return "training" if name in SPLITS["train"] else "validation"
