"""Opening of image files: decoded in full, rotated upright on demand, with errors that name the problem and the fix."""

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
"""Number of pixels that are converted to RGB at a time."""

# Matches Pillow's errors about intact but unsupported files; all others mean damage.
_UNSUPPORTED = re.compile(r"support|unknown|unrecognized image mode|not available|unable to locate|cannot handle", re.I)
_limit_removed = threading.RLock()


@contextmanager
def open_image(path: Path, any_size: bool = False) -> Iterator[Image.Image]:
    """Open an image file and decode it in full.

    Args:
        path: File with a single image. From a JPEG with several images (MPO), as phones and stereo cameras write it, the first
            one is used.
        any_size: Accept more pixels than Pillow's limit against decompression bombs.

    Yields:
        The image. TIFFs are upright, other formats as stored; see `upright` and `stored`.

    Raises:
        DataError: The file is missing, not an image, damaged, too large or has several pages, or Pillow raises an error while
            the caller converts the image.
    """
    image: Image.Image | None = None
    try:
        _refuse_other_than_files(path)
        with warnings.catch_warnings(), _without_limit() if any_size else nullcontext():
            warnings.simplefilter("ignore")  # Pillow's warnings about large images and invalid metadata
            image = Image.open(path)
            with closing(image):
                _refuse_pages(image, path)
                _refuse_misread(image, path)
                # While decoding a TIFF, Pillow rotates it and drops the tag, so read the tag before. For other formats, read it
                # after decoding: reading may decode the image, and would hide a decoding error.
                orientation = _orientation(image) if tiff.is_tiff(image) else None
                decoded = _prepared(image, path)
                decoded.load()
                decoded.info["orientation"] = _orientation(image) if orientation is None else orientation
                yield decoded
    except DataError:
        raise
    except Exception as error:  # for damaged bytes, Pillow's parsers raise errors of almost any type
        raise DataError(f"{path}: {_explain(path, error, image)}") from error


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image from `open_image`, 1 to 8; 1 if the tag is missing or invalid."""
    return image.info.get("orientation", 1)


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation to an image from `open_image`."""
    turn = _UPRIGHT.get(orientation_of(image))
    return image if turn is None or image.format == "TIFF" else image.transpose(turn)


def stored(image: Image.Image) -> Image.Image:
    """Return an image from `open_image` as it is stored in its file, without the EXIF orientation applied."""
    turn = _BACK.get(orientation_of(image))
    return image.transpose(turn) if turn is not None and image.format == "TIFF" else image


def rgb_array(image: Image.Image) -> np.ndarray:
    """Convert an image to an RGB array, uint8 (height, width, 3), without a second full copy in memory."""
    width, height = image.size
    rows = max(1, _CHUNK // width)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        chunk = image if rows >= height else image.crop((0, top, width, bottom))
        pixels[top:bottom] = np.asarray(chunk if chunk.mode == "RGB" else chunk.convert("RGB"))
    return pixels


def bits_of(image: Image.Image, path: Path) -> int:
    """Return the bits per channel in the file, which Pillow's mode does not show; 8 if the format has no other depth."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # in the header, which is the first chunk of every PNG
    if tiff.is_tiff(image):
        return tiff.bits_of(image)
    if image.format == "BMP" and bmp.read_header(path).bits == 16:
        return 5
    return 1 if image.mode == "1" else 8


def changes_values(image: Image.Image) -> bool:
    """Return True if the file may not preserve saved values exactly, because of lossy compression or rounding."""
    if tiff.is_tiff(image):
        return tiff.is_lossy(image) or (tiff.is_premultiplied(image) and _is_transparent(image))
    return image.format not in ("PNG", "BMP", "GIF")


def _is_transparent(image: Image.Image) -> bool:
    """Return True if the last channel, the opacity, is below 255 anywhere."""
    opacity = np.asarray(image.getchannel(len(image.getbands()) - 1))
    return bool((opacity < 255).any())


@contextmanager
def _without_limit() -> Iterator[None]:
    with _limit_removed:  # the limit is global, so threads must not restore it in between
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return next((turn for turn in _UPRIGHT if turn == value), 1)
    except Exception:  # invalid EXIF data does not make the image invalid
        return 1


def _refuse_other_than_files(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: is a folder, not an image; remove the image extension from its name")
    if not stat.S_ISREG(mode):  # opening a pipe would block
        raise DataError(f"{path}: is a pipe or a device, not an image; use the path of a file")


def _refuse_pages(image: Image.Image, path: Path) -> None:
    number = tiff.count_pages(path) if tiff.is_tiff(image) else getattr(image, "n_frames", 1)
    if number > 1 and image.format != "MPO":
        parts = "pages" if image.format == "TIFF" else "frames"
        raise DataError(f"{path}: has {number} {parts}, but only one can be used; save each to a separate file")


def _refuse_misread(image: Image.Image, path: Path) -> None:
    if 0 in image.size and not isinstance(image, ImageFile.StubImageFile):
        raise DataError(f"{path}: has no pixels ({image.width}x{image.height}); remove it")
    if tiff.is_tiff(image) and (reason := tiff.misreading(image)):
        raise DataError(f"{path}: is a TIFF {reason}, which Pillow decodes incorrectly; save it as PNG")


def _prepared(image: Image.Image, path: Path) -> Image.Image:
    """Return an image that Pillow decodes correctly."""
    if image.format == "BMP":
        return bmp.repaired(image, path)
    if tiff.is_tiff(image):
        tiff.correct_byte_order(image)
        tiff.forget_metadata(image)
    return image


def _explain(path: Path, error: Exception, image: Image.Image | None) -> str:
    """Describe the problem and its fix, to follow the file name in a message.

    Args:
        path: The file.
        error: Error raised by the operating system or by Pillow.
        image: The image; None if it could not be opened.
    """
    size = f"{image.width}x{image.height}" if image else "too large"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "cannot be read (permission denied); change its permissions"
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "cannot be opened, because too many files are open; use fewer processes, or raise the limit (ulimit -n)"
    # EINVAL and EOVERFLOW come from invalid offsets in the file.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EOVERFLOW):
        return f"cannot be read from disk ({error.strerror}); correct its path, or check the disk"
    if isinstance(error, MemoryError):
        return f"is {size} and does not fit into memory; split it into smaller images"
    if isinstance(error, Image.DecompressionBombError):
        found = str(error).partition(",")[0]  # "Image size (N pixels) exceeds limit of M pixels"
        return f"is too large to be read at once ({found}); predict it in tiles (--tile), or split it into smaller images"
    if "Decompressed data too large" in str(error) or "Too much memory used in text chunks" in str(error):
        return f"has a larger text block than Pillow accepts ({error}); save it again without metadata"
    if isinstance(error, UnidentifiedImageError) or "cannot find loader" in str(error):
        return describe_other_kind(path)
    if not isinstance(error, TypeError) and _UNSUPPORTED.search(str(error)):
        return f"has a variant of its format that is not supported ({error}); save it as PNG"
    if image is None:
        return describe_other_kind(path)
    if image.format == "TIFF" and image.info.get("compression", "raw") != "raw":
        return (
            f"cannot be read as an image ({error}); copy it again if it is incomplete, or save it as PNG if its compression "
            f"({image.info['compression']}) is not supported"
        )
    return f"cannot be read as an image ({error}); if it is incomplete, copy it again from an intact source"
