"""Files that several layouts contain."""

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

Size = tuple[int, int]
"""Height and width."""


def generator(name: str, salt: int = 0) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), salt])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_photo(path: Path, size: Size, mode: str = "RGB") -> None:
    """Write random colors in blocks of 8 pixels, which JPEG preserves approximately."""
    height, width = size
    colors = generator(path.stem).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = colors.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    Image.fromarray(pixels).convert(mode).save(path, quality=95)


def write_palette_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask with the color map of the VOC development kit."""
    image = Image.fromarray(mask)
    image.putpalette(color_map())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def color_map() -> list[int]:
    """The development kit's color map, as computed there: 256 colors, one channel after another."""
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
