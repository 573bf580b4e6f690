"""Files of predicted continuous values."""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import DataError
from refinenet_pl.files import replaced
from refinenet_pl.visualization.color_bar import with_color_bar
from refinenet_pl.visualization.values import color_limits, colorize_values

FileFormat = Literal["png", "npy"]
"""`png`: 16-bit grayscale, one channel in whole steps, or masks of labels. `npy`: float32, any channels and values."""

MAX_STORED = 65535
"""Max number in a 16-bit PNG."""

_CHUNK = 2**20  # Number of pixels that are colored at a time, because matplotlib's colors need 32 bytes per pixel.


def choose_format(values: Values, format: Literal["auto", "png", "npy"] = "auto") -> FileFormat:
    """Choose the format of the files.

    Args:
        values: Meaning of the values.
        format: `auto` for PNGs of labels, and a PNG if there is one channel with a range of numbers that it can hold; otherwise
            for NumPy files.

    Raises:
        ValueError: `format` is `png`, but there are several channels, or the range does not determine a scale.
    """
    if values.kind == "labels":
        return "png" if format == "auto" else format
    if format == "auto":
        fits = len(values) == 1 and values.range is not None and values.range[0] >= 0 and values.range[1] <= MAX_STORED
        return "png" if fits else "npy"
    if format == "png":
        png_divisor(values)
    return format


def png_divisor(values: Values) -> int:
    """Choose the stored number of one unit, the `divisor` of `values.yaml`.

    Returns:
        1000 for meters if the max of the range fits then or is unknown; otherwise, the largest power of ten with which the max
        fits; 1 if there is none.

    Raises:
        ValueError: There are several channels, or no range or an entirely negative one, which does not determine the scale.
    """
    if len(values) != 1:
        raise ValueError(f"a 16-bit PNG holds one channel, but there are {len(values)} ({', '.join(values.names)})")
    if values.range is None and values.unit != "m":
        raise ValueError(f"the values ({values.names[0]}) have no range, which determines the scale of a 16-bit PNG")
    high = MAX_STORED / 1000 if values.range is None else values.range[1]
    if high <= 0:
        raise ValueError(f"the range of the values ({values.names[0]}) ends at {high:g}, but a 16-bit PNG holds 0 or more")
    if values.unit == "m" and high * 1000 <= MAX_STORED:
        return 1000
    divisor = 1
    while high * divisor * 10 <= MAX_STORED:
        divisor *= 10
    return divisor


def prediction_files(stem: Path, format: FileFormat) -> list[Path]:
    """Return the files that `save_values` writes: the values (STEM.png or STEM.npy) and their colors (STEM_color.png)."""
    return [stem.with_name(f"{stem.name}{ending}") for ending in (f".{format}", "_color.png")]


def save_values(stem: Path, image: Path, target: np.ndarray, values: Values, format: FileFormat) -> None:
    """Write predicted values, and their colors with a color bar.

    A PNG has the stored number of one unit in its text chunk `divisor`, as `values.yaml` defines it, and the meaning of the
    values in `names`, `kind` and `unit`. A NumPy file has the shape (height, width) for one channel and (height, width,
    channels) for several. Each file is replaced atomically.

    Args:
        stem: Path of the files without suffix and extension.
        image: File of the image, to name in errors.
        target: float32 (height, width, channels).
        values: Their meaning.
        format: Format of the file of values.

    Raises:
        DataError: A value does not fit into a PNG; nothing is written.
        ValueError: The format is `png`, but `png_divisor` refuses the values.
        OSError: A file cannot be written; the error names it.
    """
    stored, colored = prediction_files(stem, format)
    if format == "png":
        divisor = png_divisor(values)
        numbers = Image.fromarray(_to_16_bits(target[..., 0], divisor, image, values))
        facts = {"divisor": str(divisor), "names": values.names[0], "kind": values.kind, "unit": values.unit}
        chunks = PngInfo()
        for name, text in facts.items():
            chunks.add_text(name, text)
        with replaced(stored, durable=False) as stream:
            numbers.save(stream, "png", pnginfo=chunks)
    else:
        with replaced(stored, durable=False) as stream:
            np.save(stream, target[..., 0] if len(values) == 1 else target)
    with replaced(colored, durable=False) as stream:
        Image.fromarray(_colors(target, values)).save(stream, "png")


def _to_16_bits(target: np.ndarray, divisor: int, image: Path, values: Values) -> np.ndarray:
    """Convert float (height, width) to uint16; raises a DataError about the first value that does not fit."""
    numbers = np.rint(target * np.float32(divisor))
    fits = (numbers >= 0) & (numbers <= MAX_STORED)  # False for NaN
    if not fits.all():
        max_value = f"{MAX_STORED / divisor:g} {values.unit}".rstrip()
        raise DataError(
            f"{image}: {np.count_nonzero(~fits)} predicted values, such as {target[~fits][0]:g}, do not fit into a 16-bit PNG, "
            f"which holds 0 to {max_value}; write floating-point values with --format npy"
        )
    return numbers.astype(np.uint16)


def _colors(target: np.ndarray, values: Values) -> np.ndarray:
    """Colors with a color bar: float (height, width, channels) -> uint8 (height + height of the bar, width, 3)."""
    finite = np.where(np.isfinite(target), target, np.nan)
    limits = color_limits(finite, values)
    rows = max(1, _CHUNK // target.shape[1])
    chunks = [colorize_values(finite[start : start + rows], values, limits) for start in range(0, len(target), rows)]
    return with_color_bar(np.concatenate(chunks), limits, values)
