"""Kinds of files that are taken for images, and the fix for each."""

from pathlib import Path

HEAD = 512
"""Bytes at the beginning of a file that tell its kind."""

_COPY = "the file is truncated or damaged; copy it again from where it is whole"
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file", "run `git lfs pull`"),
    (b"%PDF", "a PDF document", "export its pages as PNG"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"\x89HDF", "an HDF5 file", "save its images as PNG"),
    (b"\x93NUMPY", "a NumPy array", "save it as PNG"),
    (b"\x1aE\xdf\xa3", "a video", "extract its frames as images"),
    (b"\x00\x00\x01\xba", "a video", "extract its frames as images"),
    (b"\x00\x00\x01\xb3", "a video", "extract its frames as images"),
    (b"II*\x00", "a TIFF that is damaged or of a kind that Pillow does not read", "save it as PNG, or as TIFF of 8 or 16 bits"),
    (b"MM\x00*", "a TIFF that is damaged or of a kind that Pillow does not read", "save it as PNG, or as TIFF of 8 or 16 bits"),
)
# Of files that begin with a box `ftyp`: images of these brands, else videos.
_IMAGE_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF"}


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
    for signature, kind, fix in _SIGNATURES:
        if head.startswith(signature):
            return f"is {kind}; {fix}"
    if head[4:8] == b"ftyp":
        image = _IMAGE_BRANDS.get(head[8:12])
        return (
            f"is an image in the format {image}; convert it to JPEG or PNG"
            if image
            else "is a video; extract its frames as images"
        )
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "is a video; extract its frames as images"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "is a web page, as servers send in place of a download; download the file again, logged in if need be"
    if text.startswith((b"<?xml", b"<svg")):
        return "is a drawing or another file in XML; export it as PNG"
    if head[:HEAD].isascii() and head.decode("ascii").replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable():
        return "is a text file, not an image; remove it or give it its own extension"
    return f"cannot be read as an image; {_COPY}"
