"""Files that have an image's extension but another format, and the fix for each."""

import codecs
from pathlib import Path

from refinenet_pl.datasets.readers.text import encoding_of

HEAD = 512
"""Number of bytes at the start of a file that identify its format."""

_COPY = "the file is truncated or damaged; copy it again from an intact source"
_UNPACK = "unpack it"
_CONVERT = "convert it to JPEG or PNG"
_EXPORT = "export it as PNG"
_FRAMES = "extract its frames as images"
_TIFF = "a TIFF that is damaged or in a variant that Pillow does not support"
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (  # position, bytes, format, fix
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file", "run `git lfs pull`"),
    (0, b"\0\5\x16\7", "a macOS metadata file (AppleDouble), not the image", "remove it"),
    (0, b"%PDF", "a PDF document", "export its pages as PNG"),
    (0, b"%!PS", "a PostScript drawing", _EXPORT),
    (0, b"PK\3\4", "a ZIP archive", _UNPACK),
    (0, b"PK\5\6", "an empty ZIP archive", "copy it again from an intact source"),
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
    (4, b"ftypcrx", "a camera raw file", _CONVERT),
    *((4, b"ftyp" + brand, "an AVIF image", _CONVERT) for brand in (b"avif", b"avis")),
    *((4, b"ftyphe" + brand, "a HEIC image", _CONVERT) for brand in (b"ic", b"ix", b"im", b"is", b"vc", b"vx")),
    *((4, b"ftyp" + brand, "a HEIF image", _CONVERT) for brand in (b"mif1", b"msf1")),
    *((4, box, "a video", _FRAMES) for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    (0, b"\xff\x0a", "a JPEG XL image", _CONVERT),
    (4, b"JXL ", "a JPEG XL image", _CONVERT),
    (0, b"\xff\xd8\xff\xf7", "a JPEG-LS image", _CONVERT),
    (0, b"\x76\x2f\x31\1", "an OpenEXR image", _CONVERT),
    (0, b"#?RADIANCE", "a Radiance HDR image", _CONVERT),
    (0, b"8BPS", "a Photoshop document in a variant that Pillow does not support", _EXPORT),
    (0, b"gimp xcf", "a GIMP project", _EXPORT),
    (128, b"DICM", "a DICOM file", _EXPORT),
    *((0, start, "a camera raw file", _CONVERT) for start in (b"II*\0\x10\0\0\0CR", b"IIRO", b"IIRS", b"IIU\0", b"FUJIFILM")),
    *((0, start, _TIFF, "save it as PNG, or as TIFF with 8 or 16 bits") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)  # fmt: skip
# Signatures of formats that Pillow reads.
_KNOWN = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")


def describe_other_kind(path: Path) -> str:
    """Describe a file that cannot be read as an image.

    Args:
        path: An existing file.

    Returns:
        Problem and fix, to follow the file name in a message.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return f"is empty; {_COPY}"
    if not head.strip(b"\0"):
        return f"starts with zero bytes only; {_COPY}"
    for position, signature, kind, fix in _SIGNATURES:
        if head.startswith(signature, position):
            return f"is {kind}; {fix}"
    if (text := _text(head)) is not None:
        return _describe_text(text)
    if head.startswith(_KNOWN) or head[8:12] == b"WEBP":
        return f"cannot be read as an image; {_COPY}"
    return f"has an unknown format (first bytes: {head[:8].hex(' ')}); {_CONVERT}"


def _describe_text(text: str) -> str:
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "is a web page, which servers send instead of a download; download the file again, after logging in if required"
    if "<svg" in start:
        return "is an SVG drawing; export it as PNG"
    if start.startswith("<"):
        return "is an XML file, not an image; open it, because it may be an error message of the download server"
    return "is a text file, not an image; remove it or change its extension"


def _text(head: bytes) -> str | None:
    """Decode the start of a file as text; None if it is not printable text."""
    try:
        text = codecs.getincrementaldecoder(encoding_of(head))().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter.isspace() for letter in text) else None
