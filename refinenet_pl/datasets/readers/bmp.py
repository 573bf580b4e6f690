"""BMP files: header fields that Pillow does not expose, and a fix for files that it decodes with the wrong bit depth."""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from refinenet_pl.errors import DataError


class BmpHeader(NamedTuple):
    """Fields of a BMP header.

    Attributes:
        offset: Offset of the pixel data in the file, in bytes.
        bits: Bits per pixel.
        compressed: True for run-length encoding.
        bottom_up: True if the last row is stored first.
    """

    offset: int
    bits: int
    compressed: bool
    bottom_up: bool


def read_header(path: Path) -> BmpHeader:
    """Read the header of a BMP that Pillow opens."""
    with path.open("rb") as file:
        head = file.read(34)
    offset, size = struct.unpack_from("<II", head, 10)
    if size == 12:  # OS/2
        return BmpHeader(offset, struct.unpack_from("<H", head, 24)[0], compressed=False, bottom_up=True)
    height, _, bits, compression = struct.unpack_from("<iHHI", head, 22)
    return BmpHeader(offset, bits, compressed=compression in (1, 2), bottom_up=height > 0)


def repaired(image: Image.Image, path: Path) -> Image.Image:
    """Replace an image that Pillow would decode with the wrong bit depth.

    Pillow infers the bit depth from the color table and ignores the header: 1 bit for black and white, 8 bits for grays.

    Args:
        image: BMP image, not decoded yet.
        path: File of the image.

    Returns:
        The decoded replacement, or `image` itself if Pillow decodes it correctly.

    Raises:
        DataError: The image needs a replacement but is compressed.
    """
    header = read_header(path)
    if header.bits == {"1": 1, "L": 8}.get(image.mode, header.bits):
        return image
    if header.compressed:
        raise DataError(
            f"{path}: is a compressed BMP with {header.bits} bits per pixel, which Pillow decodes incorrectly; save it as PNG"
        )
    width, height = image.size
    stride = (width * header.bits + 31) // 32 * 4
    rows = np.fromfile(path, np.uint8, height * stride, offset=header.offset).reshape(height, stride)
    if header.bits == 4:
        rows = np.stack([rows >> 4, rows & 15], -1).reshape(height, -1)
    indices = rows[:: -1 if header.bottom_up else 1, :width]
    result = Image.fromarray(np.ascontiguousarray(indices))
    if image.mode == "1":
        result.putpalette([0, 0, 0, 255, 255, 255])
    result.format, result.info = image.format, image.info
    return result
