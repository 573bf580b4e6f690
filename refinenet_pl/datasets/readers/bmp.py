"""BMP files: facts that Pillow does not tell, and rows that it would read with fewer bits than they have."""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from refinenet_pl.errors import DataError


class BmpHeader(NamedTuple):
    """Facts from the header of a BMP.

    Attributes:
        offset: Position of the first row in the file.
        bits: Bits of a pixel.
        compressed: Whether runs of equal pixels are stored as one.
        bottom_up: Whether the last row comes first.
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
    if size == 12:  # of OS/2
        return BmpHeader(offset, struct.unpack_from("<H", head, 24)[0], compressed=False, bottom_up=True)
    height, _, bits, compression = struct.unpack_from("<iHHI", head, 22)
    return BmpHeader(offset, bits, compressed=compression in (1, 2), bottom_up=height > 0)


def repaired(image: Image.Image, path: Path) -> Image.Image:
    """Replace an image whose rows Pillow would read with the wrong number of bits.

    Pillow takes a color table of black and white for 1 bit a pixel, and a gray one for 8, whatever the header says.

    Args:
        image: A BMP, not yet decoded.
        path: Its file.

    Returns:
        The image itself if nothing is wrong with it.

    Raises:
        DataError: Its rows are compressed too.
    """
    header = read_header(path)
    if header.bits == {"1": 1, "L": 8}.get(image.mode, header.bits):
        return image
    if header.compressed:
        raise DataError(
            f"{path}: is a compressed BMP of {header.bits} bits a pixel, which Pillow reads wrongly; save it as PNG"
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
