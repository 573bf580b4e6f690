"""Pictures and masks from disk, with errors that name the file and the cure."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


class DataError(ValueError):
    """The data on disk is not what it should be; the message names the file and says what to do."""


def read_image(path: Path) -> np.ndarray:
    """Read a picture of any common format as RGB, upright.

    Returns:
        uint8 (height, width, 3).

    Raises:
        DataError: The file is missing, empty, truncated or no picture, or has more than 8 bits a channel.
    """
    with _opened(path) as picture:
        if picture.mode.startswith(("I", "F")):  # Pillow would clip these, to white all over as a rule
            raise DataError(f"{path}: has more than 8 bits a channel (mode {picture.mode}); convert it to 8 bits first")
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def read_mask(path: Path, classes: int, ignore_index: int) -> np.ndarray:
    """Read a mask of class ids: an 8-bit greyscale or palette picture whose pixel values are the ids.

    Args:
        path: A PNG, or another lossless format.
        classes: Number of classes; ids 0..classes-1 are valid.
        ignore_index: The id of void pixels, valid too.

    Returns:
        uint8 (height, width).

    Raises:
        DataError: The file is missing, damaged, not a single channel of ids, or holds an id that is no class's.
    """
    with _opened(path) as picture:
        if picture.mode not in ("L", "P"):
            raise DataError(
                f"{path}: a mask must hold one class id a pixel (mode L or P), but this picture has mode {picture.mode}; "
                "convert its colours to ids first"
            )
        mask = np.array(picture)
    present = np.unique(mask)
    unknown = present[(present >= classes) & (present != ignore_index)]
    if unknown.size:
        raise DataError(
            f"{path}: label ids {unknown.tolist()} are outside the {classes} classes (0..{classes - 1}) and are not the "
            f"void id {ignore_index}; is this the right data set, or a mask that was resized with interpolation?"
        )
    return mask


def read_pair(image_path: Path, mask_path: Path, classes: int, ignore_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture and its mask, which must be of one size.

    Raises:
        DataError: As `read_image` and `read_mask`, or the sizes differ.
    """
    image, mask = read_image(image_path), read_mask(mask_path, classes, ignore_index)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{image_path} is {image.shape[1]}x{image.shape[0]} but its mask {mask_path} is {mask.shape[1]}x{mask.shape[0]}; "
            "they must be of one size"
        )
    return image, mask


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture, decoded in full; what Pillow raises for a bad file becomes a DataError."""
    try:
        picture = Image.open(path)
        picture.load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as a picture ({error}); is it complete? Copy it anew") from error
    with picture:
        yield picture
