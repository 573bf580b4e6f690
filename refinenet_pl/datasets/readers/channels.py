"""Reading of images with any number of channels and bits, by the format that their dataset declares."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_png

from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.readers.image_files import bits_of, open_image, orientation_of, stored
from refinenet_pl.datasets.readers.numpy_files import read_numpy
from refinenet_pl.datasets.readers.text import ARRAY_EXTENSIONS, IMAGE_EXTENSIONS
from refinenet_pl.datasets.readers.tiff import is_inverted
from refinenet_pl.datasets.readers.tiff_bands import Bands, read_bands
from refinenet_pl.errors import DataError

CHECKED = 16
"""Max number of images that are read when a split is opened."""

_WITHOUT_ALPHA = ("L", "RGB", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def extensions_of(format: ImageFormat | None) -> tuple[str, ...]:
    """Lowercase extensions of the image files of a format; None for 8-bit RGB."""
    return IMAGE_EXTENSIONS if format is None else (*IMAGE_EXTENSIONS, *ARRAY_EXTENSIONS)


def read_channels(path: Path, format: ImageFormat, any_size: bool = False) -> tuple[np.ndarray, int]:
    """Read an image of a declared format.

    Gray, RGB and palette images (as RGB) of 8 or 16 bits, TIFFs with any number of channels of 8 to 64 bits, and NumPy files of
    shape (height, width), (height, width, channels) or (channels, height, width). An alpha channel is dropped unless the format
    counts it.

    Args:
        path: Image file.
        format: The format.
        any_size: Accept more pixels than Pillow's limit against decompression bombs.

    Returns:
        The image as it is stored, (height, width, channels), converted by `ImageFormat.convert`; and its EXIF orientation.

    Raises:
        DataError: The file is missing, damaged or not an image, or its values are not of this format.
    """
    if path.suffix.lower() in ARRAY_EXTENSIONS:
        bands = Bands(_channels_last(read_numpy(path), format.channels, path), 1, False)
    else:
        bands = (read_bands(path) if path.is_file() else None) or _read_image(path, any_size)
    pixels = bands.pixels
    if bands.has_alpha and pixels.shape[2] == format.channels + 1:
        pixels = pixels[..., :-1]
    return format.convert(pixels, path), bands.orientation


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation, 1 to 8, to an array (height, width, channels)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    return pixels[::rows, ::columns]


def check_images(paths: Sequence[Path], format: ImageFormat) -> None:
    """Read up to `CHECKED` images, evenly spaced, so that a wrong format ends a run before it starts.

    Raises:
        DataError: See `read_channels`.
    """
    for index in np.linspace(0, len(paths) - 1, min(len(paths), CHECKED), dtype=int).tolist():
        read_channels(paths[index], format)


def _channels_last(array: np.ndarray, channels: int, path: Path) -> np.ndarray:
    """Array as (height, width, channels)."""
    if array.ndim == 2:
        return array[..., None]
    first, last = array.shape[0] == channels, array.shape[2] == channels
    if first and last and channels > 1:
        raise DataError(
            f"{path}: has the shape {array.shape}, whose first and last size are both that of the {channels} channels; save it "
            "with another width or height"
        )
    return np.moveaxis(array, 0, -1) if first and not last else array


def _read_image(path: Path, any_size: bool) -> Bands:
    with open_image(path, any_size) as image:
        orientation, bits = orientation_of(image), bits_of(image, path)
        if is_inverted(image) and bits > 8:
            raise DataError(f"{path}: is a TIFF whose value 0 is white, which programs read differently; save it as PNG")
        if image.format == "PNG" and bits == 16 and not image.mode.startswith("I"):
            # Pillow would reduce the values to 8 bits.
            decoded = decode_png(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8), ImageReadMode.UNCHANGED)
            return Bands(decoded.permute(1, 2, 0).numpy(), orientation, has_alpha=len(decoded) in (2, 4))
        plain = _plain(stored(image))
        pixels = np.array(plain)  # a copy, because the image is closed
        return Bands(pixels[..., None] if pixels.ndim == 2 else pixels, orientation, plain.mode in ("LA", "RGBA"))


def _plain(image: Image.Image) -> Image.Image:
    """Convert black-and-white images to gray, and palettes and other color spaces to RGB."""
    if image.mode in (*_WITHOUT_ALPHA, "LA", "RGBA"):
        return image
    return image.convert({"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}.get(image.mode, "RGB"))
