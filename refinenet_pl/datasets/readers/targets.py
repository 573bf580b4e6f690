"""Reading of files with continuous values: PNG, TIFF and NumPy."""

from pathlib import Path

import numpy as np

from refinenet_pl.datasets.readers.image_files import bits_of, open_image
from refinenet_pl.datasets.readers.io import refuse_inexact
from refinenet_pl.datasets.readers.numpy_files import read_numpy
from refinenet_pl.datasets.readers.tiff import is_inverted, is_signed
from refinenet_pl.errors import DataError

TARGET_EXTENSIONS = (".png", ".tif", ".tiff", ".npy")

_ONE_CHANNEL = ("L", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def read_stored(path: Path) -> np.ndarray:
    """Read the numbers of a file as they are stored.

    Args:
        path: PNG of 8 or 16 bits, in gray or in 8-bit RGB; TIFF, also floating-point; or NumPy file of any numeric type.

    Returns:
        float32 or float64 (height, width, channels).

    Raises:
        DataError: The file is missing, damaged or of an unsupported format.
    """
    array = read_numpy(path) if path.suffix.lower() == ".npy" else _read_image(path)
    return (array[..., None] if array.ndim == 2 else array).astype(np.promote_types(array.dtype, np.float32))


def _read_image(path: Path) -> np.ndarray:
    with open_image(path) as image:
        refuse_inexact(image, path, "target")
        if is_inverted(image):
            raise DataError(f"{path}: is a TIFF whose value 0 is white, which programs read differently; save it as PNG")
        bits = bits_of(image, path)
        if image.mode == "RGB" and bits == 8:
            return np.asarray(image)
        if image.mode not in _ONE_CHANNEL or (image.mode == "L" and bits != 8):
            raise DataError(
                f"{path}: is {image.mode} with {bits} bits per channel; save values as a gray PNG of 8 or 16 bits, a "
                "floating-point TIFF, or with numpy.save"
            )
        content = np.asarray(image)
        if image.mode == "I" and bits == 32 and not is_signed(image):
            return content.view(np.uint32)  # Pillow supports signed integers only
        return content.view(np.int8) if image.mode == "L" and is_signed(image) else content
