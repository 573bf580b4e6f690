"""TIFFs with any number of channels of 8 to 64 bits, many of which Pillow does not open, or reduces to three or to 8 bits.

Pillow parses the tags and decompresses strips and tiles; this module assembles them.
"""

import io
import struct
import zlib
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image
from PIL import TiffImagePlugin as fields

from refinenet_pl.datasets.readers.tiff import count_pages
from refinenet_pl.errors import DataError

_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RAW, _PACKBITS, _DEFLATE = 1, 32773, (8, 32946)
_BY_PILLOW = (5, _PACKBITS, 34925, 50000)  # also LZW, LZMA and Zstandard
_KINDS = {1: "u", 2: "i", 3: "f"}
_BLACK_IS_ZERO, _RGB = 1, 2
_HORIZONTAL, _FLOATING = 2, 3  # predictors
_ALPHA = (1, 2)
_REDUCED, _SUB_DIRECTORIES, _DEPTH = 1, 330, 32997


class Bands(NamedTuple):
    """Channels of a TIFF as they are stored.

    Attributes:
        pixels: Integers or floating-point numbers, (height, width, channels).
        orientation: EXIF orientation, 1 to 8.
        has_alpha: True if the last channel is the opacity.
    """

    pixels: np.ndarray
    orientation: int
    has_alpha: bool


class _Layout(NamedTuple):
    """Size and type of a TIFF's strips or tiles."""

    size: tuple[int, int]
    chunk: tuple[int, int]
    planes: int
    channels: int
    dtype: np.dtype
    compression: int
    predictor: int


def read_bands(path: Path) -> Bands | None:
    """Read a TIFF whose channels Pillow does not preserve.

    Args:
        path: Existing file of any type.

    Returns:
        The channels; None for other files, which Pillow reads exactly, or refuses with an explanation.

    Raises:
        DataError: The file is damaged.
    """
    with path.open("rb") as file:
        head = file.read(16)
        if head[:4] not in _HEADS:
            return None
        try:
            tags = fields.ImageFileDirectory_v2(head[: 16 if head[2] == 43 or head[3] == 43 else 8])
            file.seek(tags.next)
            tags.load(file)
            layout = _layout(tags, ">" if head[:2] == b"MM" else "<")
            if layout is None or count_pages(path) > 1:
                return None
            read = _reader(file.seek, file.read)
            return Bands(_assemble(tags, layout, read), _orientation(tags), _has_alpha(tags, layout))
        except MemoryError:
            raise DataError(f"{path}: does not fit into memory; split it into smaller images") from None
        except Exception as error:  # for damaged bytes, Pillow and struct raise errors of almost any type
            raise DataError(
                f"{path}: cannot be read as a TIFF ({error}); if it is incomplete, copy it again from an intact source"
            ) from error


def _layout(tags: fields.ImageFileDirectory_v2, order: str) -> _Layout | None:
    """The layout; None unless this module reads it, and Pillow does not."""
    bits, kinds = set(tags.get(fields.BITSPERSAMPLE, (1,))), set(tags.get(fields.SAMPLEFORMAT, (1,)))
    samples, compression = tags.get(fields.SAMPLESPERPIXEL, 1), tags.get(fields.COMPRESSION, _RAW)
    is_plain = tags.get(fields.PHOTOMETRIC_INTERPRETATION) in (_BLACK_IS_ZERO, _RGB) and tags.get(fields.FILLORDER, 1) == 1
    is_plain &= compression in (_RAW, *_DEFLATE, *_BY_PILLOW) and len(bits) == len(kinds) == 1 and kinds <= {*_KINDS}
    is_preview = bool(tags.get(254, 0) & _REDUCED) and _SUB_DIRECTORIES in tags
    offsets = tags.get(fields.TILEOFFSETS, tags.get(fields.STRIPOFFSETS, ()))
    if not is_plain or not bits <= {8, 16, 32, 64} or is_preview or tags.get(_DEPTH, 1) > 1 or 0 in offsets:
        return None
    if bits == {8} and (kinds == {3} or (kinds == {1} and samples in (1, 3))):
        return None
    width, height = tags[fields.IMAGEWIDTH], tags[fields.IMAGELENGTH]
    tiled = fields.TILEOFFSETS in tags
    chunk = (
        (tags[fields.TILELENGTH], tags[fields.TILEWIDTH])
        if tiled
        else (min(height, tags.get(fields.ROWSPERSTRIP, height)), width)
    )
    separate = tags.get(fields.PLANAR_CONFIGURATION, 1) == 2
    return _Layout(
        (height, width),
        chunk,
        planes=samples if separate else 1,
        channels=1 if separate else samples,
        dtype=np.dtype(f"{order}{_KINDS[kinds.pop()]}{bits.pop() // 8}"),
        compression=compression,
        # Other compressions have no predictor.
        predictor=1 if compression in (_RAW, _PACKBITS) else tags.get(fields.PREDICTOR, 1),
    )


def _reader(seek: Callable[[int], Any], read: Callable[[int], bytes]) -> Callable[[int, int], bytes]:
    def part(offset: int, count: int) -> bytes:
        seek(offset)
        return read(count)

    return part


def _assemble(tags: fields.ImageFileDirectory_v2, layout: _Layout, read: Callable[[int, int], bytes]) -> np.ndarray:
    """Decode all strips or tiles: (height, width, channels)."""
    (height, width), (rows, columns) = layout.size, layout.chunk
    offsets = tags.get(fields.TILEOFFSETS, tags.get(fields.STRIPOFFSETS, ()))
    counts = tags.get(fields.TILEBYTECOUNTS, tags.get(fields.STRIPBYTECOUNTS, ()))
    across, down = ceil(width / columns), ceil(height / rows)
    if not len(offsets) == len(counts) == layout.planes * across * down:
        raise ValueError(f"{len(offsets)} strips or tiles instead of {layout.planes * across * down}")
    pixels = np.empty((layout.planes, height, width, layout.channels), layout.dtype.newbyteorder("="))
    for number, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        plane, place = divmod(number, across * down)
        top, left = place // across * rows, place % across * columns
        # The last strip ends with the image; tiles are always complete.
        here = rows if fields.TILEOFFSETS in tags else min(rows, height - top)
        chunk = _decode(read(offset, count), layout, here)[: height - top, : width - left]
        pixels[plane, top : top + len(chunk), left : left + chunk.shape[1]] = chunk
    return pixels[0] if layout.planes == 1 else np.moveaxis(pixels[..., 0], 0, -1)


def _decode(data: bytes, layout: _Layout, rows: int) -> np.ndarray:
    """Decode a strip or tile: (rows, columns, channels)."""
    columns, size = layout.chunk[1], layout.dtype.itemsize
    length = columns * layout.channels * size
    if layout.compression in _DEFLATE:
        data = zlib.decompressobj().decompress(data, rows * length)
    elif layout.compression != _RAW:
        data = _decompress_by_pillow(data, layout.compression, length, rows)
    if len(data) < rows * length:
        raise ValueError(f"a strip or tile has {len(data)} bytes instead of {rows * length}")
    shape = rows, columns, layout.channels
    if layout.predictor == _FLOATING:
        # Each row holds the differences of the first byte of all values, the most significant one, then of the second, ...
        differences = np.frombuffer(data, np.uint8, rows * length).reshape(rows, -1, layout.channels)
        planes = differences.cumsum(1, np.uint8).reshape(rows, size, -1)
        return np.ascontiguousarray(planes.swapaxes(1, 2)).view(layout.dtype.newbyteorder(">")).reshape(shape)
    stored = np.frombuffer(data, layout.dtype, rows * columns * layout.channels).reshape(shape)
    if layout.predictor != _HORIZONTAL:
        return stored
    bits = np.dtype(f"u{size}")
    differences = np.ascontiguousarray(stored.astype(layout.dtype.newbyteorder("="))).view(bits)
    return differences.cumsum(1, bits).view(layout.dtype.newbyteorder("="))


def _decompress_by_pillow(data: bytes, compression: int, length: int, rows: int) -> bytes:
    """Decompress bytes as a gray TIFF of 8 bits."""
    entries = [(256, length), (257, rows), (258, 8), (259, compression), (262, _BLACK_IS_ZERO)]
    entries += [(273, 8), (277, 1), (278, rows), (279, len(data))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in entries)
    file = b"II*\0" + struct.pack("<L", 8 + len(data)) + data + directory + bytes(4)
    with Image.open(io.BytesIO(file), formats=("TIFF",)) as image:
        return image.tobytes()


def _orientation(tags: fields.ImageFileDirectory_v2) -> int:
    value = tags.get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _has_alpha(tags: fields.ImageFileDirectory_v2, layout: _Layout) -> bool:
    return tags.get(fields.EXTRASAMPLES, (0,))[-1] in _ALPHA and max(layout.planes, layout.channels) > 1
