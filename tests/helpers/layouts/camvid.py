"""CamVid in the SegNet layout: lists of image and mask paths."""

from pathlib import Path

import numpy as np

from helpers.layouts.files import generator, write_image, write_lines, write_photo

HEIGHT, WIDTH = 24, 32
SPLITS = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e", "f"]}


def image_path(name: str) -> str:
    return f"{_split(name)}/{name}.png"


def mask_path(name: str) -> str:
    return f"{_split(name)}annot/{name}.png"


def mask_of(name: str) -> np.ndarray:
    """Class ids, and 11 for void."""
    return generator(name).integers(0, 12, (HEIGHT, WIDTH), np.uint8)


def build(root: Path) -> None:
    for split, names in SPLITS.items():
        for name in names:
            write_photo(root / image_path(name), (HEIGHT, WIDTH))
            write_image(root / mask_path(name), mask_of(name))
        write_lines(root / f"{split}.txt", [f"/SegNet/CamVid/{image_path(n)} /SegNet/CamVid/{mask_path(n)}" for n in names])


def _split(name: str) -> str:
    return next(split for split, names in SPLITS.items() if name in names)
