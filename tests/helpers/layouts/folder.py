"""A data set of one's own, in both of its forms; pictures and masks in several formats, some of them in subfolders."""

import zlib
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

NAMES = ("background", "road", "car", "tree")
COLORS = ((10, 10, 10), (128, 64, 128), (0, 0, 142), (107, 142, 35))

# Of each split: height and width, and the endings of picture and mask, by the path without ending.
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


def picture_of(split: str, stem: str) -> np.ndarray:
    """The picture, uint8 (height, width, 3); JPEG and WebP change it a little."""
    height, width, *_ = SAMPLES[split][stem]
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None]
    return (ramp + _generator(stem).integers(0, 100, 3)).astype(np.uint8)


def mask_of(split: str, stem: str) -> np.ndarray:
    """Class ids and 255, uint8 (height, width); every label occurs."""
    height, width, *_ = SAMPLES[split][stem]
    return _generator(stem).choice(np.array([0, 1, 2, 3, 255], np.uint8), (height, width))


def build(root: Path) -> None:
    """Splits in folders, masks by value."""
    _write(root, lambda kind, split: root / kind / split)


def build_flat(root: Path) -> None:
    """All pictures in one folder, all masks in another, splits in lists."""
    _write(root, lambda kind, split: root / kind)
    for split, samples in SAMPLES.items():
        (root / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in samples))


def write_classes(root: Path, **keys) -> None:
    """Write `classes.yaml` with these keys; names and colours are there without being given, and not there if None."""
    content = {"names": list(NAMES), "colors": [list(color) for color in COLORS], **keys}
    text = yaml.safe_dump({key: value for key, value in content.items() if value is not None})
    (root / "classes.yaml").write_text(text)


def _write(root: Path, folder_of) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_classes(root)
    for split, samples in SAMPLES.items():
        for stem, (_, _, image_ending, mask_ending) in samples.items():
            for kind, pixels, ending in (
                ("images", picture_of(split, stem), image_ending),
                ("masks", mask_of(split, stem), mask_ending),
            ):
                path = folder_of(kind, split) / f"{stem}{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)


def _generator(stem: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(stem.encode()))
