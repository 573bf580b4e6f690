"""Sample pixels, readers with fixed arguments, and bytes of image files in variants that Pillow cannot write."""

import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refinenet_pl.datasets.readers.io import read_mask, read_pair
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.errors import DataError

HEIGHT, WIDTH = 24, 36
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
MASK = np.random.default_rng(1).integers(0, 4, (HEIGHT, WIDTH), np.uint8)
VALUES = LabelValues.plain(4)

Color = tuple[int, int, int]
Entry = tuple[int, int, int, bytes]
"""Entry of a TIFF directory: tag, type, count and value."""


def mask_of(path: Path) -> np.ndarray:
    return read_mask(path, VALUES)


def pair_of(path: Path) -> np.ndarray:
    return read_pair(path, MASK, path)


def refusal(read: Callable, path: Path) -> str:
    """Message of the DataError that a reader raises, after the file name that it must begin with."""
    with pytest.raises(DataError) as refused:
        read(path)
    message = str(refused.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(f"{path}: ")


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def palette_image(ids: np.ndarray, palette: Iterable[Color]) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette([value for color in palette for value in color])  # converts to mode P
    return image


def pack(values: Iterable[int], bits: int) -> bytes:
    """Pack values of 1 to 16 bits, the first one into the highest bits, and fill up the last byte."""
    text = "".join(f"{value:0{bits}b}" for value in values)
    return bytes(int(text[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(text), 8))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: list[int], depth: int, channels: int = 1) -> bytes:
    """PNG of a single row."""
    header = struct.pack(">IIBBBBB", len(values) // channels, 1, depth, {1: 0, 2: 4, 3: 2}[channels], 0, 0, 0)
    data = zlib.compress(b"\0" + pack(values, depth))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def bmp(bits: int, colors: list[Color], indices: np.ndarray, core: bool = False, top_down: bool = False) -> bytes:
    """BMP with a color table; `core` selects the short header of OS/2, after which the table is complete."""
    colors = colors + [(0, 0, 0)] * (2**bits - len(colors) if core else 0)
    height, width = indices.shape
    stride = (width * bits + 31) // 32 * 4
    rows = [pack(row, bits).ljust(stride, b"\0") for row in (indices if top_down else indices[::-1]).tolist()]
    table = b"".join(bytes(color[::-1]) + (b"" if core else b"\0") for color in colors)
    sizes = (-height if top_down else height, 1, bits, 0, height * stride, 0, 0, len(colors), 0)
    header = struct.pack("<IHHHH", 12, width, height, 1, bits) if core else struct.pack("<IiiHHIIiiII", 40, width, *sizes)
    offset = 14 + len(header) + len(table)
    return b"BM" + struct.pack("<IHHI", offset + height * stride, 0, 0, offset) + header + table + b"".join(rows)


def directory(*entries: Entry, end: str = "<") -> bytes:
    """TIFF header and directory, as in EXIF data."""
    fields, extra, extra_offset = struct.pack(f"{end}H", len(entries)), b"", 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        if len(value) > 4:
            offset, extra = struct.pack(f"{end}L", extra_offset + len(extra)), extra + value
        fields += struct.pack(f"{end}HHL", tag, kind, count) + (value.ljust(4, b"\0") if len(value) <= 4 else offset)
    return (b"II*\0" if end == "<" else b"MM\0*") + struct.pack(f"{end}L", 8) + fields + bytes(4) + extra


def tiff(numbers: dict[int, int], pixels: bytes, *entries: Entry) -> bytes:
    """Little-endian, uncompressed TIFF; `numbers` and `entries` are its tags."""
    entries += tuple((tag, 4, 1, struct.pack("<L", value)) for tag, value in (numbers | {279: len(pixels)}).items())
    offset = len(directory(*entries, (273, 4, 1, bytes(4))))
    return directory(*entries, (273, 4, 1, struct.pack("<L", offset))) + pixels
