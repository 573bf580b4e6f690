"""A custom dataset in both of its layouts, with several image formats, some of them in subfolders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from helpers.layouts.files import generator, write_image, write_lines, write_photo

NAMES = ("background", "road", "car", "tree")
COLORS = ((10, 10, 10), (128, 64, 128), (0, 0, 142), (107, 142, 35))

# Height, width, and the extensions of image and mask, by split and path without extension.
SAMPLES = {
    "train": {
        "a": (60, 80, ".png", ".png"),
        "street.01": (61, 70, ".jpg", ".png"),
        "town/a": (80, 60, ".JPG", ".tif"),
        "town/b c": (64, 64, ".bmp", ".bmp"),
    },
    "val": {"d": (60, 80, ".png", ".PNG"), "e": (75, 90, ".jpeg", ".png")},
    "test": {"f": (60, 80, ".webp", ".png"), "g": (50, 66, ".png", ".tiff")},
}
SPLITS = {split: [stem.replace("/", "_") for stem in samples] for split, samples in SAMPLES.items()}


def mask_of(split: str, stem: str) -> np.ndarray:
    """Class ids and 255, uint8 (height, width); every label occurs."""
    height, width, *_ = SAMPLES[split][stem]
    return generator(stem).choice(np.array([0, 1, 2, 3, 255], np.uint8), (height, width))


def build(root: Path) -> None:
    """Splits in folders, masks by value."""
    _write(root, lambda kind, split: root / kind / split)


def build_flat(root: Path) -> None:
    """All images in one folder, all masks in another, splits in lists."""
    _write(root, lambda kind, split: root / kind)
    for split, samples in SAMPLES.items():
        write_lines(root / f"{split}.txt", samples)


def write_classes(root: Path, **keys: object) -> None:
    """Write `classes.yaml` with these keys; names and colors are added by default, and omitted if they are None."""
    content = {"names": list(NAMES), "colors": [list(color) for color in COLORS], **keys}
    text = yaml.safe_dump({key: value for key, value in content.items() if value is not None})
    (root / "classes.yaml").write_text(text)


def _write(root: Path, folder_of: Callable[[str, str], Path]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_classes(root)
    for split, samples in SAMPLES.items():
        for stem, (height, width, image_extension, mask_extension) in samples.items():
            write_photo(folder_of("images", split) / f"{stem}{image_extension}", (height, width))
            write_image(folder_of("masks", split) / f"{stem}{mask_extension}", mask_of(split, stem))
