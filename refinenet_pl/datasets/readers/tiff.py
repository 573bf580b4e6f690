"""TIFF files: facts that Pillow does not tell, and forms that it would read wrongly."""

import re
from pathlib import Path

from PIL import ExifTags, Image
from PIL import TiffImagePlugin as fields

_SUBFILE_TYPE, _SUB_DIRECTORIES, _DEPTH = 254, 330, 32997
_PREVIEW, _TRANSPARENCY = 1, 4  # bits of the type
_WHITE_IS_ZERO, _YCBCR = 0, 6
_SEPARATE_CHANNELS = 2
_SIGNED = 2
_PREMULTIPLIED = 1
_BIG = 43  # in the head of a BigTIFF, whose head has 16 bytes

_LOSSY = ("jpeg", "tiff_jpeg", "webp", "tiff_sgilog", "tiff_sgilog24")

# Numbers that Pillow decodes, but does not list: floats of 64 bits, and big-endian integers of 32 bits without a sign.
fields.OPEN_INFO.setdefault((b"II", 1, (3,), 1, (64,), ()), ("F", "F;64F"))
fields.OPEN_INFO.setdefault((b"MM", 1, (3,), 1, (64,), ()), ("F", "F;64BF"))
fields.OPEN_INFO.setdefault((b"MM", 1, (1,), 1, (32,), ()), ("I", "I;32BS"))


def bits_of(image: Image.Image) -> int:
    """Bits of a channel, the largest if they differ."""
    return max(image.tag_v2.get(fields.BITSPERSAMPLE, (1,)))


def is_signed(image: Image.Image) -> bool:
    """True for signed integers; False for other formats."""
    return image.format == "TIFF" and image.tag_v2.get(fields.SAMPLEFORMAT, (1,))[0] == _SIGNED


def is_inverted(image: Image.Image) -> bool:
    """True if the smallest value is white, so that programs disagree about the values; False for other formats.

    Pillow takes it for white if the file does not say it.
    """
    photometric = fields.PHOTOMETRIC_INTERPRETATION
    return image.format == "TIFF" and image.tag_v2.get(photometric, _WHITE_IS_ZERO) == _WHITE_IS_ZERO


def is_premultiplied(image: Image.Image) -> bool:
    """True if the colors in the file are multiplied by the opacity."""
    return _PREMULTIPLIED in image.tag_v2.get(fields.EXTRASAMPLES, ())


def is_lossy(image: Image.Image) -> bool:
    """True for a compression that changes values."""
    return image.info.get("compression") in _LOSSY


def count_pages(path: Path) -> int:
    """The number of images in a file, without previews and transparency masks.

    Pillow counts too, but fails on pages that it does not read, as transparency masks are.
    """
    pages, seen = 0, set()
    with path.open("rb") as file:
        head = file.read(8)
        directory = fields.ImageFileDirectory_v2(head + (file.read(8) if head[2] == _BIG else b""))
        while directory.next and directory.next not in seen:
            seen.add(directory.next)
            file.seek(directory.next)
            directory.load(file)
            pages += not pages or not _number(directory, _SUBFILE_TYPE) & (_PREVIEW | _TRANSPARENCY)
    return pages


def misreading(image: Image.Image) -> str:
    """The property of a TIFF that Pillow would ignore, as a part of a sentence; empty if there is none.

    Args:
        image: Its first page, not yet decoded.
    """
    tags, bits, packed = image.tag_v2, bits_of(image), image.info.get("compression") != "raw"
    plain = bits == 8 and not is_inverted(image) and tags.get(fields.FILLORDER, 1) == 1
    if _number(tags, _SUBFILE_TYPE) & _PREVIEW and _SUB_DIRECTORIES in tags:
        return "that begins with a preview, as the raw files of cameras do"
    if _number(tags, _DEPTH) > 1:
        return "of a volume"
    if 0 in tags.get(fields.STRIPOFFSETS, ()) or 0 in tags.get(fields.TILEOFFSETS, ()):
        return "of which some parts are not stored (sparse)"
    if tags.get(fields.PLANAR_CONFIGURATION) == _SEPARATE_CHANNELS and not packed and not plain:
        return f"of {bits} bits a channel with separate channels"
    in_ycbcr = tags.get(fields.PHOTOMETRIC_INTERPRETATION) == _YCBCR
    if in_ycbcr and not packed and tags.get(fields.YCBCRSUBSAMPLING, (2, 2)) != (1, 1):
        return "in YCbCr with fewer pixels of color than of brightness"
    if image.mode in ("P", "PA") and 0 < max(tags[fields.COLORMAP]) < 256:
        return "whose color table has 8 bits in place of 16"
    return ""


def correct_byte_order(image: Image.Image) -> None:
    """Keep Pillow from exchanging the bytes of compressed numbers again, after libtiff has put them into the machine's order.

    Args:
        image: A TIFF, not yet decoded.
    """
    image.tile = [
        tile._replace(args=(re.sub(r"(;\d\d)B?(S|F)$", r"\1N\2", tile.args[0]), *tile.args[1:]))
        if tile.codec_name == "libtiff"
        else tile
        for tile in image.tile
    ]


def forget_metadata(image: Image.Image) -> None:
    """Leave only the orientation of the tags that Pillow reads or rewrites when it decodes a TIFF, since it fails on odd ones.

    Args:
        image: A TIFF, not yet decoded.
    """
    exif = image.getexif()
    for tag in set(exif) - {ExifTags.Base.Orientation}:
        del exif[tag]
    for name in "exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif":
        image.info.pop(name, None)


def _number(tags: fields.ImageFileDirectory_v2, tag: int) -> int:
    """The value of a tag, 0 if it is missing or no integer."""
    value = tags.get(tag, 0)
    return value if isinstance(value, int) else 0
