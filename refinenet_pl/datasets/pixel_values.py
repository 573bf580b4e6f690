"""Pixel values of a dataset's images, compared with the format that the dataset declares."""

from typing import NamedTuple

import numpy as np

from refinenet_pl.datasets.image_format import ImageFormat


class PixelValues(NamedTuple):
    """Pixel values of one or more images of a declared format, over all channels.

    Attributes:
        smallest: Smallest stored value.
        largest: Largest stored value.
        outside: Number of values outside the declared range.
        number: Number of values.
    """

    smallest: float
    largest: float
    outside: int
    number: int

    @classmethod
    def of(cls, image: np.ndarray, format: ImageFormat) -> "PixelValues":
        """Values of an image from `ImageFormat.convert`."""
        low, high = (format.stored(float(limit)) for limit in (image.min(), image.max()))
        return cls(low, high, int(np.count_nonzero((image < 0) | (image > 255))), image.size)

    def add(self, other: "PixelValues | None") -> "PixelValues":
        """Values of both; `other` is None for no image."""
        if other is None:
            return self
        low, high = min(self.smallest, other.smallest), max(self.largest, other.largest)
        return PixelValues(low, high, self.outside + other.outside, self.number + other.number)


def fits_format(image: np.ndarray, format: ImageFormat | None) -> bool:
    """Test if a dataset's image has the type, dimensions and number of channels of its format; None for 8-bit RGB."""
    channels = 3 if format is None else format.channels
    is_byte, is_float = image.dtype == np.uint8, image.dtype == np.float32 and format is not None
    is_typed = is_float or (is_byte and (format is None or format.is_eight_bit_rgb))
    return bool(is_typed and image.ndim == 3 and image.shape[2] == channels)
