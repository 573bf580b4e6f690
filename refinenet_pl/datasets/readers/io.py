"""Reading of images, masks and image-mask pairs as arrays, with errors that name the file and the fix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from refinenet_pl.datasets.image_format import EXAMPLE, ImageFormat
from refinenet_pl.datasets.readers.channels import read_channels, turned
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


def read_image(path: Path, any_size: bool = False, format: ImageFormat | None = None) -> np.ndarray:
    """Read an image of any common format as RGB, with its EXIF orientation applied.

    Gray, palette and CMYK images are converted; an alpha channel is dropped.

    Args:
        path: Image file.
        any_size: Accept more pixels than Pillow's limit against decompression bombs (178,956,970).
        format: Format of the image, which is then not converted to RGB, see `read_channels`; None for 8-bit RGB.

    Returns:
        uint8, (height, width, 3); of another format, float32 (height, width, channels), see `ImageFormat.convert`.

    Raises:
        DataError: The file is missing, empty, damaged, too large or not an image, or has more than 8 bits per channel or is not
            of the format.
    """
    if format is not None:
        return np.ascontiguousarray(turned(*read_channels(path, format, any_size)))
    with open_image(path, any_size) as image:
        rotated = upright(_eight_bits(image, path))
        if rotated is not image:
            image.close()  # frees a full copy of the pixels
        return rgb_array(rotated)


def read_mask(path: Path, values: LabelValues, palette: Sequence[tuple[int, int, int]] | None = None) -> np.ndarray:
    """Read a mask that encodes classes by value, in one channel or in several equal channels.

    Accepts gray images of 1 to 32 bits, palette images (by index) and floating-point TIFFs of whole numbers. An alpha channel
    is dropped.

    Args:
        path: PNG, TIFF, BMP or GIF file; other formats may not preserve the exact values.
        values: Mapping from values to class ids.
        palette: Expected colors of the first entries of a palette image; None to skip the check. A program that saves a mask
            again may sort the palette and so change the values.

    Returns:
        Class ids and the void id: uint8, (height, width).

    Raises:
        DataError: The file is missing, damaged, of an unsupported format or in color, or has an undefined value.
    """
    return values.encode(read_mask_values(path, palette), path)


def read_mask_values(path: Path, palette: Sequence[tuple[int, int, int]] | None = None) -> np.ndarray:
    """Read the values of a mask as they are stored; for arguments and errors, see `read_mask`.

    Returns:
        Integer, (height, width); 0 and 1 for an image of 1 bit.
    """
    with open_image(path) as image:
        refuse_inexact(image, path)
        content = _values(image, path)
        if palette is not None and image.mode == "P":
            _check_palette(image, np.unique(content), palette, path)
    return content


def read_colors(path: Path) -> np.ndarray:
    """Read a mask that encodes classes by color. Palette images are converted to RGB.

    Returns:
        uint8, (height, width, 3).

    Raises:
        DataError: The file is missing, damaged, or of a format that may not preserve the exact colors.
    """
    with open_image(path) as image:
        refuse_inexact(image, path)
        _eight_bits(image, path)
        if image.mode not in ("1", "L", "P", "LA", "PA", "RGB", "RGBA") or bits_of(image, path) not in (1, 2, 4, 8):
            raise DataError(f"{path}: is {_form(image, path)}, which has no exact 8-bit colors; save the mask as an RGB PNG")
        return rgb_array(image)


def read_palette(path: Path) -> tuple[list[int], list[tuple[int, int, int]]] | None:
    """Read the values and the palette of a palette image.

    Returns:
        The values that occur and the (red, green, blue) colors of the palette; None for an image without a palette.

    Raises:
        DataError: The file is missing or damaged.
    """
    with open_image(path) as image:
        colors = image.getpalette("RGB") if image.mode == "P" else None
        if not colors:
            return None
        return np.unique(np.asarray(image)).tolist(), list(zip(colors[::3], colors[1::3], colors[2::3], strict=True))


def read_pair(
    image_path: Path, mask: np.ndarray, mask_path: Path, strict: bool = True, format: ImageFormat | None = None
) -> np.ndarray:
    """Read the image that belongs to a mask.

    A camera held sideways stores the image rotated, with the rotation in its EXIF orientation. Masks may be annotated on the
    stored or on the upright image; if these differ in size, the size of the mask decides.

    Args:
        image_path: Image file.
        mask: Integer, (height, width).
        mask_path: Mask file, to name in errors.
        strict: Handling of an image whose stored and upright forms both fit the mask. True raises an error, because a wrong
            guess would misalign the labels unnoticed. False reads the image as stored, as MATLAB does; the published datasets
            were annotated with MATLAB.
        format: See `read_image`.

    Returns:
        As `read_image`, with the size of the mask.

    Raises:
        DataError: As in `read_image`, or the sizes differ, or the orientation is ambiguous.
    """
    size = mask.shape[1], mask.shape[0]
    if format is not None:
        pixels, turn = read_channels(image_path, format)
        arrays = pixels, turned(pixels, turn)
        sizes = [(array.shape[1], array.shape[0]) for array in arrays]
        return np.ascontiguousarray(arrays[_fitting(image_path, sizes, turn, size, mask_path, strict)])
    with open_image(image_path) as image:
        _eight_bits(image, image_path)
        forms, turn = (stored(image), upright(image)), orientation_of(image)
        return rgb_array(forms[_fitting(image_path, [form.size for form in forms], turn, size, mask_path, strict)])


def _fitting(
    path: Path, sizes: Sequence[tuple[int, int]], turn: int, size: tuple[int, int], mask_path: Path, strict: bool
) -> int:
    """Index of the form of an image, 0 for stored or 1 for upright, whose (width, height) is that of its mask."""
    if turn != 1 and strict and all(form == size for form in sizes):
        raise DataError(
            f"{path}: is stored rotated (EXIF orientation {turn}), and its mask fits both the stored and the upright image; "
            "rotate the image to match the mask and save it without this tag"
        )
    if size not in sizes:
        width, height = sizes[1]
        raise DataError(
            f"{path} is {width}x{height}, but its mask {mask_path} is {size[0]}x{size[1]}; their sizes must be equal"
        )
    return sizes.index(size)


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # Pillow clips these, which makes most images white
        raise DataError(
            f"{path}: has more than 8 bits per channel (mode {image.mode}); convert it to 8 bits first or, if it is an image, "
            f"declare its format in the dataset's classes.yaml or values.yaml, such as `{EXAMPLE}`"
        )
    if is_signed(image):
        raise DataError(f"{path}: has signed 8-bit values; convert them to unsigned 8 bits first")
    return image


def refuse_inexact(image: Image.Image, path: Path, kind: str = "mask") -> None:
    """Raise a DataError if the file may not preserve the exact values of a mask or target.

    Args:
        image: The opened file.
        path: Its path.
        kind: Word for such a file in errors.
    """
    if image.format in ("JPEG", "MPO"):
        raise DataError(
            f"{path}: this {kind} is a {image.format}, whose lossy compression changes values along edges; save the original "
            f"{kind} as PNG"
        )
    if changes_values(image):
        name = f"{image.format} ({image.info.get('compression')})" if image.format == "TIFF" else image.format
        raise DataError(
            f"{path}: this {kind} has the format {name}, which may not preserve the exact values; save the original {kind} as "
            "PNG"
        )


def _values(image: Image.Image, path: Path) -> np.ndarray:
    """Return the values in the file, integer (height, width)."""
    bits = bits_of(image, path)
    if is_inverted(image):
        # Some programs return the stored bits, others invert them for display; a mask may mean either.
        raise DataError(f"{path}: is a TIFF whose value 0 is white, which programs read differently; save it as PNG")
    if image.mode in ("LA", "RGB", "RGBA") and bits == 8:
        channels = np.asarray(image)[..., : 1 if image.mode == "LA" else 3]
        if (channels != channels[..., :1]).any():
            raise DataError(
                f"{path}: is in color, but a mask must have one class value per pixel; convert its colors to class ids, or "
                "use a dataset `folder` with masks: colors"
            )
        return channels[..., 0]
    if image.mode not in _ONE_CHANNEL:
        raise DataError(
            f"{path}: is {_form(image, path)}, but a mask must have one class value per pixel; save it as a gray or palette PNG"
        )
    content = np.asarray(image)
    if image.mode == "1":
        return content.astype(np.uint8)
    if image.mode == "F":
        return _whole_numbers(content, path)
    if image.mode == "I" and bits == 32 and not is_signed(image):
        return content.view(np.uint32)  # Pillow supports signed integers only
    if image.mode == "L":
        if is_signed(image):
            return content.view(np.int8)
        if image.format in ("PNG", "TIFF") and bits in (2, 4):
            return content // (255 // (2**bits - 1))  # Pillow scales these values to 0..255
    return content


def _whole_numbers(content: np.ndarray, path: Path) -> np.ndarray:
    """Convert floating-point values to int32; raises a DataError if one is not a whole number or too large to be exact."""
    exact = (content == np.round(content)) & (np.abs(content) < 2**24)
    if not exact.all():
        raise DataError(
            f"{path}: has the floating-point value {content[~exact][0]:g}, which is not a class value; save the mask as "
            "integers, without interpolation"
        )
    return content.astype(np.int32)


def _form(image: Image.Image, path: Path) -> str:
    return f"{image.mode} with {bits_of(image, path)} bits per channel"


def _check_palette(image: Image.Image, present: np.ndarray, palette: Sequence[tuple[int, int, int]], path: Path) -> None:
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    for value in present:
        if value < len(palette) and (value >= len(colors) or tuple(colors[value]) != tuple(palette[value])):
            here = tuple(colors[value].tolist()) if value < len(colors) else "no color"
            raise DataError(
                f"{path}: value {value} is {here} in this image's palette, but {tuple(palette[value])} in the dataset's, so "
                "its values are not class ids; use the original file"
            )
