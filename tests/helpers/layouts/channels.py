"""Custom datasets whose images are not 8-bit RGB: one channel of 16 bits, or five floating-point channels in NumPy files."""

from pathlib import Path

import numpy as np
import yaml

from helpers.layouts.files import generator, write_image
from refinenet_pl.datasets.image_format import ImageFormat

GRAY = ImageFormat(1, (0, 65535))
BANDS = ImageFormat(5, (-1.0, 3.0))
SIZE = 40, 48
SPLITS = {"train": "abcd", "val": "ef"}


def pixels(name: str, format: ImageFormat) -> np.ndarray:
    """Stored values of an image: uint16 (height, width) of one channel, or float32 (height, width, channels)."""
    if format.channels == 1:
        return generator(name).integers(0, 65536, SIZE).astype(np.uint16)
    return generator(name).uniform(*format.range, (*SIZE, format.channels)).astype(np.float32)


def write_pixels(path: Path, array: np.ndarray) -> None:
    """Write a PNG or a NumPy file, by its extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        write_image(path, array)


def build(root: Path, format: ImageFormat = GRAY, extension: str = ".png") -> Path:
    """Write masks of three classes in halves of the images, and return the dataset's folder."""
    for split, names in SPLITS.items():
        for name in names:
            write_pixels(root / "images" / split / f"{name}{extension}", pixels(name, format))
            write_image(root / "masks" / split / f"{name}.png", mask(name))
    declare(root / "classes.yaml", {"names": ["left", "right", "band"]}, format)
    return root


def build_values(root: Path, format: ImageFormat = GRAY, extension: str = ".png") -> Path:
    """Write depths of 1 to 3 m, and return the dataset's folder."""
    for split, names in SPLITS.items():
        for name in names:
            write_pixels(root / "images" / split / f"{name}{extension}", pixels(name, format))
            write_image(root / "targets" / split / f"{name}.png", 1000 + 1000 * mask(name).astype(np.uint16))
    declare(root / "values.yaml", {"kind": "depth", "unit": "m", "divisor": 1000, "range": [0, 9]}, format)
    return root


def mask(name: str) -> np.ndarray:
    """Class ids, uint8 (height, width)."""
    ids = np.zeros(SIZE, np.uint8)
    ids[:, SIZE[1] // 2 :] = 1
    ids[ord(name) % SIZE[0] : ord(name) % SIZE[0] + 4] = 2
    return ids


def declare(file: Path, content: dict, format: ImageFormat | None) -> None:
    """Write a classes or values file that declares the format."""
    images = {} if format is None else {"images": format.to_dict()}
    file.write_text(yaml.safe_dump(content | images))
