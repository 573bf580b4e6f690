"""Kinds of files that are taken for images, and the fix for each."""

import codecs
from pathlib import Path

from refinenet_pl.datasets.readers.text import encoding_of

HEAD = 512
"""Bytes at the beginning of a file that tell its kind."""

_COPY = "the file is truncated or damaged; copy it again from where it is whole"
_UNPACK = "unpack it"
_CONVERT = "convert it to JPEG or PNG"
_EXPORT = "export it as PNG"
_FRAMES = "extract its frames as images"
_TIFF = "a TIFF that is damaged or of a kind that Pillow does not read"
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (  # position, bytes, kind and fix
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file", "run `git lfs pull`"),
    (0, b"\0\5\x16\7", "a companion file of macOS (AppleDouble), not the image", "remove it"),
    (0, b"%PDF", "a PDF document", "export its pages as PNG"),
    (0, b"%!PS", "a PostScript drawing", _EXPORT),
    (0, b"PK\3\4", "a ZIP archive", _UNPACK),
    (0, b"PK\5\6", "a ZIP archive without content", "copy it again from where it is whole"),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x89HDF", "an HDF5 file", "save its images as PNG"),
    (0, b"MATLAB", "a MATLAB file", "save its images as PNG"),
    (0, b"\x93NUMPY", "a NumPy array", "save it as PNG"),
    (0, b"\x1aE\xdf\xa3", "a video", _FRAMES),
    (0, b"\0\0\1\xba", "a video", _FRAMES),
    (0, b"\0\0\1\xb3", "a video", _FRAMES),
    (0, b"FLV\1", "a video", _FRAMES),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video", _FRAMES),
    (8, b"AVI LIST", "a video", _FRAMES),
    (4, b"ftypcrx", "a camera's raw file", _CONVERT),
    *((4, b"ftyp" + brand, "an image in the format AVIF", _CONVERT) for brand in (b"avif", b"avis")),
    *((4, b"ftyphe" + brand, "an image in the format HEIC", _CONVERT) for brand in (b"ic", b"ix", b"im", b"is", b"vc", b"vx")),
    *((4, b"ftyp" + brand, "an image in the format HEIF", _CONVERT) for brand in (b"mif1", b"msf1")),
    *((4, box, "a video", _FRAMES) for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    (0, b"\xff\x0a", "an image in the format JPEG XL", _CONVERT),
    (4, b"JXL ", "an image in the format JPEG XL", _CONVERT),
    (0, b"\xff\xd8\xff\xf7", "an image in the format JPEG-LS", _CONVERT),
    (0, b"\x76\x2f\x31\1", "an image in the format OpenEXR", _CONVERT),
    (0, b"#?RADIANCE", "an image in the format Radiance HDR", _CONVERT),
    (0, b"8BPS", "a Photoshop document of a kind that Pillow does not read", _EXPORT),
    (0, b"gimp xcf", "a GIMP project", _EXPORT),
    (128, b"DICM", "a DICOM file", _EXPORT),
    *((0, start, "a camera's raw file", _CONVERT) for start in (b"II*\0\x10\0\0\0CR", b"IIRO", b"IIRS", b"IIU\0", b"FUJIFILM")),
    *((0, start, _TIFF, "save it as PNG, or as TIFF of 8 or 16 bits") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)  # fmt: skip
# The beginnings of formats that Pillow reads.
_KNOWN = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")


def describe_other_kind(path: Path) -> str:
    """Describe a file that cannot be read as an image.

    Args:
        path: A file that exists.

    Returns:
        The part of a sentence that follows the file's name, with the fix.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return f"is empty; {_COPY}"
    if not head.strip(b"\0"):
        return f"begins with zeros only; {_COPY}"
    for position, signature, kind, fix in _SIGNATURES:
        if head.startswith(signature, position):
            return f"is {kind}; {fix}"
    if (text := _text(head)) is not None:
        return _describe_text(text)
    if head.startswith(_KNOWN) or head[8:12] == b"WEBP":
        return f"cannot be read as an image; {_COPY}"
    return f"is in no format that is known here (its first bytes are {head[:8].hex(' ')}); {_CONVERT}"


def _describe_text(text: str) -> str:
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "is a web page, as servers send in place of a download; download the file again, logged in if need be"
    if "<svg" in start:
        return "is an SVG drawing; export it as PNG"
    if start.startswith("<"):
        return "is an XML file, not an image; read it, since it may be a server's answer in place of a download"
    return "is a text file, not an image; remove it or give it its own extension"


def _text(head: bytes) -> str | None:
    """The text that a file begins with, None if these are no characters."""
    try:
        text = codecs.getincrementaldecoder(encoding_of(head))().decode(head)  # whose last character may be cut
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter.isspace() for letter in text) else None
