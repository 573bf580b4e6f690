"""TIFF files: properties that Pillow does not expose, and variants that it decodes incorrectly."""

import re
from pathlib import Path
from typing import TypeGuard

from PIL import ExifTags, Image
from PIL import TiffImagePlugin as fields
from PIL.TiffImagePlugin import TiffImageFile

_SUBFILE_TYPE, _SUB_DIRECTORIES, _DEPTH = 254, 330, 32997
_PREVIEW, _TRANSPARENCY = 1, 4  # bits of the subfile type
_WHITE_IS_ZERO, _YCBCR = 0, 6
_SEPARATE_CHANNELS = 2
_SIGNED = 2
_PREMULTIPLIED = 1
_BIG = 43  # version number of BigTIFF, whose header has 16 bytes

_LOSSY = ("jpeg", "tiff_jpeg", "webp", "tiff_sgilog", "tiff_sgilog24")

# Register types that Pillow decodes but does not list: 64-bit floats and big-endian unsigned 32-bit integers.
fields.OPEN_INFO.setdefault((b"II", 1, (3,), 1, (64,), ()), ("F", "F;64F"))
fields.OPEN_INFO.setdefault((b"MM", 1, (3,), 1, (64,), ()), ("F", "F;64BF"))
fields.OPEN_INFO.setdefault((b"MM", 1, (1,), 1, (32,), ()), ("I", "I;32BS"))


def is_tiff(image: Image.Image) -> TypeGuard[TiffImageFile]:
    """Return True for a TIFF; False for formats that build on it (MIC) and for converted images."""
    return isinstance(image, TiffImageFile) and image.format == "TIFF"


def bits_of(image: TiffImageFile) -> int:
    """Return the bits per channel, the largest number if channels differ."""
    return max(image.tag_v2.get(fields.BITSPERSAMPLE, (1,)))


def is_signed(image: Image.Image) -> bool:
    """Return True for signed integers; False for other formats."""
    return is_tiff(image) and image.tag_v2.get(fields.SAMPLEFORMAT, (1,))[0] == _SIGNED


def is_inverted(image: Image.Image) -> bool:
    """Return True if the smallest value is white, or the file does not specify it; False for other formats."""
    photometric = fields.PHOTOMETRIC_INTERPRETATION
    return is_tiff(image) and image.tag_v2.get(photometric, _WHITE_IS_ZERO) == _WHITE_IS_ZERO


def is_premultiplied(image: TiffImageFile) -> bool:
    """Return True if the stored colors are multiplied by the opacity."""
    return _PREMULTIPLIED in image.tag_v2.get(fields.EXTRASAMPLES, ())


def is_lossy(image: TiffImageFile) -> bool:
    """Return True for a compression that changes values."""
    return image.info.get("compression") in _LOSSY


def count_pages(path: Path) -> int:
    """Count the images in a file, excluding previews and transparency masks.

    Pillow's own count fails on pages that it cannot decode, such as transparency masks.
    """
    pages = 0
    seen: set[int] = set()
    with path.open("rb") as file:
        head = file.read(8)
        directory = fields.ImageFileDirectory_v2(head + (file.read(8) if head[2] == _BIG else b""))
        while directory.next and directory.next not in seen:
            seen.add(directory.next)
            file.seek(directory.next)
            directory.load(file)
            pages += not pages or not _number(directory, _SUBFILE_TYPE) & (_PREVIEW | _TRANSPARENCY)
    return pages


def misreading(image: TiffImageFile) -> str:
    """Describe the property of a TIFF that Pillow would ignore, to follow `a TIFF` in a message; empty if there is none.

    Args:
        image: First page of the file, not decoded yet.
    """
    tags, bits, packed = image.tag_v2, bits_of(image), image.info.get("compression") != "raw"
    plain = bits == 8 and not is_inverted(image) and tags.get(fields.FILLORDER, 1) == 1
    if _number(tags, _SUBFILE_TYPE) & _PREVIEW and _SUB_DIRECTORIES in tags:
        return "that begins with a preview, like camera raw files"
    if _number(tags, _DEPTH) > 1:
        return "volume"
    if 0 in tags.get(fields.STRIPOFFSETS, ()) or 0 in tags.get(fields.TILEOFFSETS, ()):
        return "with missing parts (sparse)"
    if tags.get(fields.PLANAR_CONFIGURATION) == _SEPARATE_CHANNELS and not packed and not plain:
        return f"with separate channels of {bits} bits"
    in_ycbcr = tags.get(fields.PHOTOMETRIC_INTERPRETATION) == _YCBCR
    if in_ycbcr and not packed and tags.get(fields.YCBCRSUBSAMPLING, (2, 2)) != (1, 1):
        return "in uncompressed YCbCr with chroma subsampling"
    if image.mode in ("P", "PA") and 0 < max(tags[fields.COLORMAP]) < 256:
        return "whose color table has 8 bits instead of 16"
    return ""


def correct_byte_order(image: TiffImageFile) -> None:
    """Keep Pillow from swapping the bytes of compressed numbers, which libtiff returns in native order already.

    Args:
        image: A TIFF, not decoded yet.
    """
    image.tile = [
        tile._replace(args=(re.sub(r"(;\d\d)B?(S|F)$", r"\1N\2", tile.args[0]), *tile.args[1:]))
        if tile.codec_name == "libtiff" and isinstance(tile.args, tuple)
        else tile
        for tile in image.tile
    ]


def forget_metadata(image: TiffImageFile) -> None:
    """Remove all metadata but the orientation, because Pillow fails on invalid tags while it decodes a TIFF.

    Args:
        image: A TIFF, not decoded yet.
    """
    exif = image.getexif()
    for tag in set(exif) - {ExifTags.Base.Orientation}:
        del exif[tag]
    for name in "exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif":
        image.info.pop(name, None)


def _number(tags: fields.ImageFileDirectory_v2, tag: int) -> int:
    """Return the value of a tag; 0 if it is missing or not an integer."""
    value = tags.get(tag, 0)
    return value if isinstance(value, int) else 0
