"""Reading of annotation files with checks of their fields; errors name the file and the fix."""

import json
import math
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from refinenet_pl.datasets.importing.annotations import Size
from refinenet_pl.datasets.readers.text import composed, read_text
from refinenet_pl.errors import DataError

_Kind = TypeVar("_Kind")
_WORDS = {dict: "an object", list: "a list", str: "a text", int: "an integer"}


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: The file is missing or not JSON.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the JSON file of the annotations")
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not JSON ({error}); it is truncated or damaged, export the annotations again") from error


def field(entry: Any, key: str, kind: type[_Kind], place: str) -> _Kind:
    """Value of a key.

    Args:
        entry: The object.
        key: Name of the key.
        kind: Required type: dict, list, str or int.
        place: File and position of the object, to begin an error with.

    Raises:
        DataError: `entry` is not an object, or the key is missing or has another type.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{place}: must be an object with the key {key!r}, not {_shown(entry)}")
    if key not in entry:
        raise DataError(f"{place}: the key {key!r} is missing; is this the right format, and the export complete?")
    value = entry[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{place}: {key} must be {_WORDS[kind]}, not {_shown(value)}")
    return value


def number(value: Any, place: str) -> float:
    """Convert to a number.

    Raises:
        DataError: The value is not a number, is NaN, or is too large for a coordinate.
    """
    try:
        converted = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        converted = math.nan
    if not abs(converted) < 1e9:
        raise DataError(f"{place}: {_shown(value)} is not a number of pixels; correct it")
    return converted


def polygon(coordinates: Any, place: str) -> np.ndarray:
    """Convert pairs of coordinates to vertices.

    Args:
        coordinates: List of [x, y].
        place: File and position of the polygon, to begin an error with.

    Returns:
        float64 (vertices, 2).

    Raises:
        DataError: The polygon has fewer than three points, or a coordinate is not a finite number.
    """
    pairs = isinstance(coordinates, list) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in coordinates)
    if not pairs:
        raise DataError(f"{place}: the points of a polygon must be pairs of x and y, not {_shown(coordinates)}")
    if len(coordinates) < 3:
        raise DataError(f"{place}: a polygon with {len(coordinates)} points has no area; remove it, or give it three or more")
    return np.array([[number(value, place) for value in pair] for pair in coordinates])


def size_of(width: Any, height: Any, place: str) -> Size:
    """Convert a width and a height to pixels.

    Raises:
        DataError: One of them is not a positive integer.
    """
    converted = number(width, f"{place}: width"), number(height, f"{place}: height")
    if not all(value > 0 and value == int(value) for value in converted):
        raise DataError(f"{place}: {width}x{height} is not an image size in pixels")
    return int(converted[0]), int(converted[1])


def read_class_list(path: Path) -> list[str]:
    """Read a text file with one class name per line.

    Raises:
        DataError: The file is missing or empty, or a name occurs more than once.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; it lists the classes, one name per line")
    names = [composed(line.strip()) for line in read_text(path).split("\n") if line.strip()]
    if not names:
        raise DataError(f"{path}: lists no classes; write one name per line")
    refuse_repeated(names, str(path))
    return names


def refuse_repeated(names: list[str], place: str) -> None:
    """Raise a DataError if a class name occurs more than once."""
    repeated = [name for position, name in enumerate(names) if name in names[:position]]
    if repeated:
        raise DataError(f"{place}: two classes have the name {repeated[0]!r}; rename one of them")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
