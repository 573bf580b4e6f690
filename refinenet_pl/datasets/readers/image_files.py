"""The one place where image files are opened: decoded in full, upright on demand, every problem named with its fix."""

import errno
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from refinenet_pl.datasets.readers import bmp, tiff
from refinenet_pl.datasets.readers.file_kinds import describe_other_kind
from refinenet_pl.errors import DataError

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_BACK = _UPRIGHT | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}

_CHUNK = 2**22
"""Pixels that are converted at a time."""

# Of Pillow's errors about files that are whole. The others are about damage.
_UNSUPPORTED = re.compile(r"support|unknown|unrecognized image mode|not available|unable to locate|cannot handle", re.I)
_limit_removed = threading.RLock()


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
    image = None
    try:
        _refuse_other_than_files(path)
        with warnings.catch_warnings(), _without_limit() if any_size else nullcontext():
            # About large images, and about metadata that Pillow cannot parse.
            warnings.simplefilter("ignore")
            image = Image.open(path)
            with closing(image):
                _refuse_pages(image, path)
                _refuse_misread(image, path)
                # Pillow turns a TIFF while it decodes it, and forgets the tag. Of other formats it may decode the image to find
                # the tag; an error of that must not be taken for one of the tag.
                turned = _orientation(image) if image.format == "TIFF" else None
                decoded = _prepared(image, path)
                decoded.load()
                decoded.info["orientation"] = _orientation(image) if turned is None else turned
                yield decoded
    except DataError:
        raise
    except Exception as error:  # damaged bytes lead Pillow's parsers to almost anything
        raise DataError(f"{path}: {_explain(path, error, image)}") from error


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


def rgb_array(image: Image.Image) -> np.ndarray:
    """Pixels of an image in RGB, uint8 (height, width, 3); no further copy of the image is held at any time."""
    width, height = image.size
    rows = max(1, _CHUNK // width)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        chunk = image if rows >= height else image.crop((0, top, width, bottom))
        pixels[top:bottom] = np.asarray(chunk if chunk.mode == "RGB" else chunk.convert("RGB"))
    return pixels


def bits_of(image: Image.Image, path: Path) -> int:
    """Bits of a channel in the file, which Pillow's mode does not tell; 8 if the format has no others."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # of the header, which is the first chunk of every PNG
    if image.format == "TIFF":
        return tiff.bits_of(image)
    if image.format == "BMP" and bmp.read_header(path).bits == 16:
        return 5
    return 1 if image.mode == "1" else 8


def changes_values(image: Image.Image) -> bool:
    """True if the file need not hold the values that were saved: by lossy compression, or by rounding."""
    if image.format == "TIFF":
        return tiff.is_lossy(image) or (tiff.is_premultiplied(image) and image.getextrema()[-1][0] < 255)
    return image.format not in ("PNG", "BMP", "GIF")


@contextmanager
def _without_limit() -> Iterator[None]:
    with _limit_removed:  # or a thread that ends in between would bring back what another has set
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return next((turn for turn in _UPRIGHT if turn == value), 1)
    except Exception:  # of EXIF that cannot be parsed, which is no part of the image
        return 1


def _refuse_other_than_files(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: is a folder, not an image; give it a name without an image's extension")
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        raise DataError(f"{path}: is a pipe or a device, not an image; give the path of a file")


def _refuse_pages(image: Image.Image, path: Path) -> None:
    number = tiff.count_pages(path) if image.format == "TIFF" else getattr(image, "n_frames", 1)
    if number > 1 and image.format != "MPO":
        what = "pages" if image.format == "TIFF" else "frames"
        raise DataError(f"{path}: holds {number} {what}, of which only one could be used; save each as a file of its own")


def _refuse_misread(image: Image.Image, path: Path) -> None:
    if 0 in image.size and not isinstance(image, ImageFile.StubImageFile):
        raise DataError(f"{path}: has no pixels ({image.width}x{image.height}); remove it")
    if image.format == "TIFF" and (reason := tiff.misreading(image)):
        raise DataError(f"{path}: is a TIFF {reason}, which Pillow reads wrongly; save it as PNG")


def _prepared(image: Image.Image, path: Path) -> Image.Image:
    """The image that Pillow decodes rightly."""
    if image.format == "BMP":
        return bmp.repaired(image, path)
    if image.format == "TIFF":
        tiff.correct_byte_order(image)
        tiff.forget_metadata(image)
    return image


def _explain(path: Path, error: Exception, image: Image.Image | None) -> str:
    """The part of a sentence that follows the file's name, with the fix that the cause asks for.

    Args:
        path: The file.
        error: Raised by the system or by Pillow.
        image: The image, None if it could not be opened.
    """
    size = f"{image.width}x{image.height}" if image else "too large"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "may not be read; give permission to read it"
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "cannot be opened, because too many files are open; use fewer processes, or allow more (ulimit -n)"
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EOVERFLOW):  # these: by a wrong position
        return f"cannot be read from where it is stored ({error.strerror}); correct its path, or check the disk"
    if isinstance(error, MemoryError):
        return f"is {size} and does not fit into memory; cut it into pieces"
    if isinstance(error, Image.DecompressionBombError):
        found = str(error).partition(",")[0]  # "Image size (N pixels) exceeds limit of M pixels"
        return f"is too large to be read whole ({found}); predict it in tiles (--tile), or cut it into pieces"
    if "Decompressed data too large" in str(error) or "Too much memory used in text chunks" in str(error):
        return f"has a larger block of text than Pillow reads ({error}); save it again without metadata"
    if isinstance(error, UnidentifiedImageError) or "cannot find loader" in str(error):
        return describe_other_kind(path)
    if not isinstance(error, TypeError) and _UNSUPPORTED.search(str(error)):
        return f"is of a form that cannot be read ({error}); save it as PNG"
    if image is None:
        return describe_other_kind(path)
    if image.format == "TIFF" and image.info.get("compression", "raw") != "raw":
        return (
            f"cannot be read as an image ({error}); save it as PNG if its compression ({image.info['compression']}) is not "
            "supported here, or copy it again if it is not complete"
        )
    return f"cannot be read as an image ({error}); is it complete? Copy it again from where it is whole"
