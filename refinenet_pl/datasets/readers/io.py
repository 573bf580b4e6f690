"""Images and masks from disk, as arrays, with errors that name the file and the fix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from refinenet_pl.datasets.readers.image_files import (
    bits_of,
    changes_values,
    open_image,
    orientation_of,
    rgb_array,
    stored,
    upright,
)
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.datasets.readers.tiff import is_inverted, is_signed
from refinenet_pl.errors import DataError

_ONE_CHANNEL = ("1", "L", "P", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def read_image(path: Path, any_size: bool = False) -> np.ndarray:
    """Read an image of any common format as RGB, upright.

    Gray, palette and CMYK images are converted, transparency is left out.

    Args:
        path: The file.
        any_size: Whether it may have more than the 178,956,970 pixels that Pillow takes for safe.

    Returns:
        uint8 (height, width, 3).

    Raises:
        DataError: The file is missing, empty, damaged, too large or no image, or has more than 8 bits a channel.
    """
    with open_image(path, any_size) as image:
        turned = upright(_eight_bits(image, path))
        if turned is not image:
            image.close()  # its pixels take as much memory again
        return rgb_array(turned)


def read_mask(path: Path, values: LabelValues, palette: Sequence[tuple[int, int, int]] | None = None) -> np.ndarray:
    """Read a mask whose pixel values are class values: of one channel, or of several that are equal.

    Gray images of 1 to 32 bits, palette images and floating-point TIFFs of whole numbers are read by their values, whatever
    they look like. Transparency is left out.

    Args:
        path: A PNG, TIFF, BMP or GIF; other formats need not hold exactly the values that were drawn.
        values: The class of each value.
        palette: Colors that the first entries of a palette image must have. A program that saved the mask again may have
            sorted its palette, and with it the values. None if the dataset prescribes none.

    Returns:
        uint8 (height, width) of class ids and the void id.

    Raises:
        DataError: The file is missing, damaged, of another format, in color, or holds a value without a meaning.
    """
    with open_image(path) as image:
        _refuse_inexact(image, path)
        content = _values(image, path)
        if palette is not None and image.mode == "P":
            _check_palette(image, np.unique(content), palette, path)
    return values.encode(content, path)


def read_colors(path: Path) -> np.ndarray:
    """Read a mask whose colors are classes: RGB, or a palette image by its colors.

    Returns:
        uint8 (height, width, 3).

    Raises:
        DataError: The file is missing, damaged, or of a format that need not hold exactly the colors that were drawn.
    """
    with open_image(path) as image:
        _refuse_inexact(image, path)
        _eight_bits(image, path)
        if image.mode not in ("1", "L", "P", "LA", "PA", "RGB", "RGBA") or bits_of(image, path) not in (1, 2, 4, 8):
            raise DataError(
                f"{path}: is {_form(image, path)}, which has no exact colors of 8 bits; save the mask as RGB in a PNG"
            )
        return rgb_array(image)


def read_palette(path: Path) -> tuple[list[int], list[tuple[int, int, int]]] | None:
    """Values that occur in a palette image, and the colors of its palette; None for an image without one.

    Raises:
        DataError: As `read_colors`.
    """
    with open_image(path) as image:
        colors = image.getpalette("RGB") if image.mode == "P" else None
        return colors and (np.unique(np.asarray(image)).tolist(), list(zip(*[iter(colors)] * 3, strict=True)))


def read_pair(image_path: Path, mask: np.ndarray, mask_path: Path, strict: bool = True) -> np.ndarray:
    """Read the image that a mask belongs to.

    A camera held sideways stores the image as it lay and notes how to turn it (EXIF orientation). Masks are drawn on either
    form; if the two differ in size, that of the mask decides.

    Args:
        image_path: The image.
        mask: Integer (height, width).
        mask_path: Named in errors.
        strict: What becomes of an image for which sizes decide nothing. True: an error, because half of the guesses would
            give silently wrong labels. False: it is taken as stored, as MATLAB reads it, with which the published datasets
            were labeled.

    Returns:
        uint8 (height, width, 3), of the mask's size.

    Raises:
        DataError: As `read_image`, or the sizes differ, or the orientation cannot be decided.
    """
    with open_image(image_path) as image:
        _eight_bits(image, image_path)
        forms, size = (stored(image), upright(image)), mask.shape[::-1]
        turn = orientation_of(image)
        if turn != 1 and strict and all(form.size == size for form in forms):
            raise DataError(
                f"{image_path}: is stored turned (EXIF orientation {turn}), and nothing tells whether its mask was drawn on "
                "the stored or on the upright image; save the image without that tag, as the mask needs it"
            )
        chosen = next((form for form in forms if form.size == size), None)
        if chosen is None:
            width, height = forms[1].size
            raise DataError(
                f"{image_path} is {width}x{height} but its mask {mask_path} is {size[0]}x{size[1]}; they must be of one size"
            )
        return rgb_array(chosen)


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # Pillow would clip these, to white all over as a rule
        raise DataError(f"{path}: has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits first")
    if is_signed(image):
        raise DataError(f"{path}: has signed values of 8 bits; convert it to unsigned ones first")
    return image


def _refuse_inexact(image: Image.Image, path: Path) -> None:
    """Refuse a mask whose file need not hold the values that were saved in it."""
    if image.format in ("JPEG", "MPO"):
        raise DataError(
            f"{path}: this mask is a {image.format}, which smears labels into others along every outline; save masks as PNG, "
            "again from where they were drawn"
        )
    if changes_values(image):
        how = f"{image.format} ({image.info.get('compression')})" if image.format == "TIFF" else image.format
        raise DataError(
            f"{path}: this mask has the format {how}, which need not hold exactly the values that were drawn; save masks as "
            "PNG, again from where they were drawn"
        )


def _values(image: Image.Image, path: Path) -> np.ndarray:
    """Integer (height, width) of the values in the file."""
    bits = bits_of(image, path)
    if is_inverted(image):
        # Some programs hand on the stored bits, others exchange black and white as this image is seen; a mask may mean either.
        raise DataError(
            f"{path}: is a TIFF whose value 0 is white, of which programs disagree about the values; save it as PNG"
        )
    if image.mode in ("LA", "RGB", "RGBA") and bits == 8:
        channels = np.asarray(image)[..., : 1 if image.mode == "LA" else 3]
        if (channels != channels[..., :1]).any():
            raise DataError(
                f"{path}: is in color, but a mask must hold one class value a pixel; convert its colors to class ids first, or "
                "open it as a dataset `folder` with masks: colors"
            )
        return channels[..., 0]
    if image.mode not in _ONE_CHANNEL:
        raise DataError(
            f"{path}: is {_form(image, path)}, but a mask must hold one class value a pixel; save it as a gray or palette PNG"
        )
    content = np.asarray(image)
    if image.mode == "1":
        return content.astype(np.uint8)
    if image.mode == "F":
        return _whole_numbers(content, path)
    if image.mode == "I" and bits == 32 and not is_signed(image):
        return content.view(np.uint32)  # Pillow has signed integers only
    if image.mode == "L":
        if is_signed(image):
            return content.view(np.int8)
        if image.format in ("PNG", "TIFF") and bits in (2, 4):
            return content // (255 // (2**bits - 1))  # Pillow stretches the values of these to 0..255
    return content


def _whole_numbers(content: np.ndarray, path: Path) -> np.ndarray:
    """The values of floating-point numbers, int32; a DataError about one that is no whole number, or too large to be exact."""
    exact = (content == np.round(content)) & (np.abs(content) < 2**24)
    if not exact.all():
        raise DataError(
            f"{path}: holds {content[~exact][0]:g} in floating point, which is no class value; save the mask as integers, "
            "without interpolation"
        )
    return content.astype(np.int32)


def _form(image: Image.Image, path: Path) -> str:
    return f"{image.mode} of {bits_of(image, path)} bits a channel"


def _check_palette(image: Image.Image, present: np.ndarray, palette: Sequence[tuple[int, int, int]], path: Path) -> None:
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    for value in present:
        if value < len(palette) and (value >= len(colors) or tuple(colors[value]) != tuple(palette[value])):
            here = tuple(colors[value].tolist()) if value < len(colors) else "no color"
            raise DataError(
                f"{path}: value {value} has {here} in this image's palette, but {tuple(palette[value])} in the dataset's; "
                "some program has saved it with another palette, so its values are not class ids. Take the original file"
            )
