"""Format of a dataset's images, if they are not 8-bit RGB: number of channels and range of the stored pixel values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refinenet_pl.errors import DataError

KEYS = ("channels", "range")
EXAMPLE = "images: {channels: 1, range: [0, 65535]}"


@dataclass(frozen=True)
class ImageFormat:
    """Number of channels and range of the pixel values in image files.

    Pixel values are mapped linearly so that the range becomes 0..255, the range of 8-bit images, to which the normalization of
    networks refers. They are neither rounded nor clipped.

    Attributes:
        channels: Number of channels.
        range: Stored pixel values that become 0 and 255.

    Raises:
        ValueError: There are no channels, or the range is empty or not finite.
    """

    channels: int
    range: tuple[float, float]

    def __post_init__(self) -> None:
        if isinstance(self.channels, bool) or not isinstance(self.channels, int) or self.channels < 1:
            raise ValueError(f"channels is {self.channels!r}; give an integer of 1 or more")
        if not all(_is_number(limit) for limit in self.range) or not self.range[0] < self.range[1]:
            raise ValueError(f"range is {list(self.range)}; give min and max, two different finite numbers in this order")

    @property
    def is_eight_bit_rgb(self) -> bool:
        """True for three channels of 0..255; 8-bit files stay uint8 then."""
        return self.channels == 3 and tuple(self.range) == (0, 255)

    def __str__(self) -> str:
        """Description such as `1 channel, pixel values 0 to 65535`."""
        return f"{describe_channels(self.channels)}, pixel values {self.range[0]:g} to {self.range[1]:g}"

    def to_dict(self) -> dict[str, Any]:
        """Convert to numbers and a list, for YAML and JSON files."""
        return {"channels": self.channels, "range": list(self.range)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "ImageFormat":
        """Inverse of `to_dict`."""
        low, high = content["range"]
        return cls(content["channels"], (low, high))

    def convert(self, stored: np.ndarray, place: Path | str) -> np.ndarray:
        """Map stored pixel values to the range of 8-bit images.

        Args:
            stored: Numbers of any type, (height, width, channels).
            place: File to name in errors.

        Returns:
            float32 of the same shape, in about 0..255; if three channels and the range 0..255 are declared, uint8 values are
            returned as they are.

        Raises:
            DataError: The number of channels is wrong, a value is not finite, or a value exceeds the range by more than its
                length, so that the range is probably wrong.
        """
        if stored.ndim != 3 or stored.shape[2] != self.channels:
            found = describe_channels(stored.shape[2]) if stored.ndim == 3 else f"the shape {stored.shape}"
            raise DataError(
                f"{place}: has {found}, but `images` declares {self.channels}; correct `channels` in classes.yaml or "
                "values.yaml, or convert the file"
            )
        if stored.dtype == np.uint8 and self.is_eight_bit_rgb:
            return stored
        # Integers of up to 16 bits are exact in float32.
        exact = stored.astype(np.promote_types(stored.dtype, np.float32), copy=False)
        low, high = self.range
        smallest, largest = float(exact.min()), float(exact.max())
        if not np.isfinite((smallest, largest)).all():
            raise DataError(f"{place}: has pixel values that are NaN or infinite; replace them, for example by {low:g}")
        length = high - low
        if smallest < low - length or largest > high + length:
            raise DataError(
                f"{place}: has pixel values from {smallest:g} to {largest:g}, which is further outside the range {low:g} to "
                f"{high:g} than its length; correct the `range` of `images` in classes.yaml or values.yaml, or clip the values"
            )
        return ((exact - exact.dtype.type(low)) * exact.dtype.type(255 / length)).astype(np.float32, copy=False)

    def stored(self, value: float) -> float:
        """Inverse of the mapping, for one value."""
        return self.range[0] + value * (self.range[1] - self.range[0]) / 255


def describe_channels(number: int) -> str:
    """Number and noun, such as `1 channel`."""
    return f"{number} channel{'s' * (number != 1)}"


def parse_images(content: Any, path: Path) -> ImageFormat:
    """Parse the key `images` of a classes or values file.

    Args:
        content: Its content.
        path: The file, to name in errors.

    Raises:
        DataError: A key is unknown or missing, or has a wrong type.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path}: images: must have the keys {' and '.join(KEYS)}, not {content!r}; for example `{EXAMPLE}`")
    if unknown := [str(key) for key in content if key not in KEYS]:
        raise DataError(f"{path}: images: unknown key {', '.join(unknown)}; the keys are {', '.join(KEYS)}")
    if missing := [key for key in KEYS if key not in content]:
        raise DataError(f"{path}: images: has no {' and '.join(missing)}; write for example `{EXAMPLE}`")
    limits = content["range"]
    if not isinstance(limits, list) or len(limits) != 2:
        raise DataError(f"{path}: images: range must be [min, max], not {limits!r}")
    try:
        return ImageFormat.from_dict(content)
    except ValueError as error:
        raise DataError(f"{path}: images: {error}") from None


def _is_number(entry: Any) -> bool:
    return isinstance(entry, int | float) and not isinstance(entry, bool) and bool(np.isfinite(entry))
