"""The one place where image files are opened: decoded in full, upright on demand, every problem named with its fix."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from refinenet_pl.data.errors import DataError
from refinenet_pl.data.file_kinds import describe_other_kind

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_BACK = _UPRIGHT | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}

# Tags of TIFF.
_SUBFILE, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 254, 258, 262, 339


@contextmanager
def open_image(path: Path, any_size: bool = False) -> Iterator[Image.Image]:
    """Open an image file and decode it in full.

    Args:
        path: A file with one image. Of a JPEG with several (MPO), as phones and stereo cameras write, the first is the photo.
        any_size: Whether it may have more pixels than Pillow takes for safe.

    Yields:
        The image. TIFFs are upright, others as stored, see `upright`.

    Raises:
        DataError: The file is missing, of another kind, damaged, too large or holds several pages; or whatever Pillow raises
            while the caller converts it.
    """
    size = ""
    try:
        with warnings.catch_warnings(), _without_limit() if any_size else nullcontext():
            # About large images, and about metadata that Pillow cannot parse.
            warnings.simplefilter("ignore")
            image = Image.open(path)
            size = f"{image.width}x{image.height}"
            with image:
                _refuse_pages(image, path)
                image.info["orientation"] = _orientation(image)
                image = _repaired(image, path)
                image.load()
                yield image
    except DataError:
        raise
    except Exception as error:  # damaged bytes lead Pillow's parsers to almost anything
        raise DataError(f"{path}: {_explain(path, error, size)}") from error


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of an image from `open_image`, 1 to 8; 1 if the tag is missing, unreadable or not one of these."""
    return image.info.get("orientation", 1)


def upright(image: Image.Image) -> Image.Image:
    """The image as it is meant to be seen, by the value of its EXIF orientation."""
    turn = _UPRIGHT.get(orientation_of(image))
    return image if turn is None or image.format == "TIFF" else image.transpose(turn)


def stored(image: Image.Image) -> Image.Image:
    """The image as its file has it, whatever its EXIF orientation."""
    turn = _BACK.get(orientation_of(image))
    return image.transpose(turn) if turn is not None and image.format == "TIFF" else image


def bits_of(image: Image.Image, path: Path) -> int:
    """Bits of a channel in the file, which Pillow's mode does not tell; 8 if the format has no others."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # of the header, which is the first chunk of every PNG
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS, (1,))
        return max(bits) if isinstance(bits, tuple) else bits
    return 1 if image.mode == "1" else 8


def is_signed(image: Image.Image) -> bool:
    """Whether the file has signed integers."""
    return image.format == "TIFF" and image.tag_v2.get(_SAMPLE_FORMAT, (1,))[0] == 2


def is_inverted(image: Image.Image) -> bool:
    """Whether the file's smallest value is white, so that programs disagree about its values."""
    return image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0


@contextmanager
def _without_limit() -> Iterator[None]:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # of EXIF that cannot be parsed, which is no part of the image
        return 1
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def _refuse_pages(image: Image.Image, path: Path) -> None:
    frames = getattr(image, "n_frames", 1)
    if image.format == "TIFF":  # previews of a page are no pages
        frames = sum(not _is_preview(image, number) for number in range(frames))
        image.seek(0)
    if frames > 1 and image.format != "MPO":
        what = "pages" if image.format == "TIFF" else "frames"
        raise DataError(f"{path}: holds {frames} {what}, of which only one could be used; save each as a file of its own")


def _is_preview(image: Image.Image, number: int) -> bool:
    image.seek(number)
    return number > 0 and bool(image.tag_v2.get(_SUBFILE, 0) & 1)


def _repaired(image: Image.Image, path: Path) -> Image.Image:
    """The image itself, or one of a BMP whose rows Pillow reads with fewer bits than the file has.

    Pillow takes a color table of black and white for 1 bit a pixel, and a gray one for 8, whatever the header says.
    """
    if image.format != "BMP" or image.mode not in ("1", "L"):
        return image
    with path.open("rb") as file:
        content = file.read()
    (offset, header) = struct.unpack_from("<II", content, 10)
    bits = struct.unpack_from("<H", content, 24 if header == 12 else 28)[0]
    if bits == {"1": 1, "L": 8}[image.mode]:
        return image
    compressed = header != 12 and struct.unpack_from("<I", content, 30)[0] != 0
    if compressed or bits not in (4, 8):
        raise DataError(f"{path}: is a BMP of {bits} bits a pixel in a form that Pillow reads wrongly; save it as PNG")
    height = image.height
    bottom_up = header == 12 or struct.unpack_from("<i", content, 22)[0] > 0
    stride = (image.width * bits + 31) // 32 * 4
    rows = np.frombuffer(content, np.uint8, stride * height, offset).reshape(height, stride)
    if bits == 4:
        rows = np.stack([rows >> 4, rows & 15], -1).reshape(height, -1)
    indices = rows[:: -1 if bottom_up else 1, : image.width]
    repaired = Image.fromarray(np.ascontiguousarray(indices))
    if image.mode == "1":
        repaired.putpalette([0, 0, 0, 255, 255, 255])
    repaired.format = "BMP"
    return repaired


def _explain(path: Path, error: Exception, size: str) -> str:
    """The part of a sentence that follows the file's name, with the fix that the cause asks for."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError) or path.is_dir():
        return "is a folder, not an image; give it a name without an image's extension"
    if isinstance(error, PermissionError):
        return "may not be read; give permission to read it"
    if isinstance(error, MemoryError):
        return f"is {size} and does not fit into memory; cut it into pieces"
    if isinstance(error, Image.DecompressionBombError):
        found = str(error).partition(",")[0]  # "Image size (N pixels) exceeds limit of M pixels"
        return f"is too large to be read whole ({found}); predict it in tiles (--tile), or cut it into pieces"
    if "Decompressed data too large" in str(error) or "Too much memory used in text chunks" in str(error):
        return f"has a larger block of text than Pillow reads ({error}); save it again without metadata"
    if isinstance(error, UnidentifiedImageError):
        return describe_other_kind(path)
    return f"cannot be read as an image ({error}); is it complete? Copy it again from where it is whole"
