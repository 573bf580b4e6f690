"""`values.yaml`, which defines the values of a custom dataset, and the decoding of targets by it."""

from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from refinenet_pl.datasets.image_format import ImageFormat, parse_images
from refinenet_pl.datasets.readers.yaml_files import read_keys
from refinenet_pl.datasets.values import Kind, Values
from refinenet_pl.errors import DataError

KEYS = ("names", "kind", "unit", "divisor", "offset", "invalid", "range", "swapped", "positive", "images")
PER_METER = {"dm": 10, "cm": 100, "mm": 1000, "km": 0.001}
EXAMPLE = "names: [depth], kind: depth, unit: m, divisor: 1000, invalid: [0]"
POSITIVE = [1, 255]
"""Stored numbers that mean that a pixel has a label, by default."""
_DEFAULT_NAMES = {"depth": ["depth"], "normals": ["x", "y", "z"]}


class ValuesFile(NamedTuple):
    """Content of a file `values.yaml`.

    Attributes:
        path: The file.
        values: Names, meaning, unit and range.
        divisor: Stored number of one unit.
        offset: Number to add after the division.
        invalid: Stored numbers that mean unknown.
        positive: Stored numbers that mean that a pixel has a label; empty unless the values are labels.
        images: Format of the images; None for 8-bit RGB.
    """

    path: Path
    values: Values
    divisor: float
    offset: float
    invalid: tuple[float, ...]
    positive: tuple[float, ...] = ()
    images: ImageFormat | None = None

    def decode(self, stored: np.ndarray, place: Path) -> np.ndarray:
        """Convert stored numbers to values; `read_labels` does so for labels.

        Args:
            stored: Float (height, width, channels).
            place: File to name in errors.

        Returns:
            float32 (height, width, channels), NaN where unknown.

        Raises:
            DataError: The number of channels is wrong, a value is infinite or outside the range, or depth is not positive.
        """
        if stored.shape[2] != len(self.values):
            raise DataError(f"{place}: has {stored.shape[2]} channels, but {self.path} names {len(self.values)}")
        unknown = np.isnan(stored) | np.isin(stored, self.invalid)
        if len(self.values) > 1 and self.values.kind == "normals":
            unknown = np.broadcast_to(unknown.all(2, keepdims=True), stored.shape)
        target = np.where(unknown, np.nan, stored / self.divisor + self.offset).astype(np.float32)
        if self.values.kind == "depth" and (target <= 0).any():
            raise DataError(
                f"{place}: {int((target <= 0).sum())} depths are 0 or negative, such as {target[target <= 0][0]:g}; list the "
                f"number that means unknown in `invalid` of {self.path}"
            )
        outside = self.values.outside(target)
        if outside.any():
            limits = "" if self.values.range is None else f" {self.values.range[0]:g} to {self.values.range[1]:g}"
            raise DataError(
                f"{place}: {int(outside.sum())} values are infinite or outside the range{limits} {self.values.unit}, such as "
                f"{target[outside][0]:g}; correct `divisor` (now {self.divisor:g}), `invalid` or `range` in {self.path}"
            )
        return target


def read_values(path: Path) -> ValuesFile:
    """Read a file `values.yaml`; `ValueFolder` describes its keys.

    Raises:
        DataError: The file is missing or not YAML, or a key is unknown, has a wrong type or contradicts another.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; it defines the values, with lines such as `{EXAMPLE}`")
    content = read_keys(path, EXAMPLE, KEYS)
    kind = content.get("kind", "other")
    if kind not in get_args(Kind):
        raise DataError(f"{path}: kind: {kind!r} is none of {', '.join(get_args(Kind))}")
    unit = str(content.get("unit", ""))
    if kind == "depth" and unit not in ("m", ""):
        factor = f"; for example, write `unit: m, divisor: {PER_METER[unit]}`" if unit in PER_METER else ""
        raise DataError(
            f"{path}: unit: is {unit!r}, but depth is scored in m: `divisor` is the stored number of one meter{factor}"
        )
    for key in ("unit", "divisor", "offset", "range") if kind == "labels" else ("positive",):
        if key in content:
            raise DataError(f"{path}: {key}: is not for `kind: {kind}`; remove it")
    if kind in ("normals", "heatmap") and unit:
        raise DataError(f"{path}: unit: is {unit!r}, but {kind} have no unit; remove it")
    names = content.get("names", _DEFAULT_NAMES.get(kind))
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{path}: names: must be a list of names, one per channel, not {names!r}")
    limits = [0, 1] if kind == "labels" else content.get("range")
    if limits is not None and not (isinstance(limits, list) and len(limits) == 2 and all(map(_is_number, limits))):
        raise DataError(f"{path}: range: must be [min, max], not {limits!r}")
    numbers = _listed(content.get("invalid", []))
    positive = _listed(content.get("positive", [n for n in POSITIVE if n not in numbers])) if kind == "labels" else []
    scale = {key: content.get(key, default) for key, default in (("divisor", 1), ("offset", 0))}
    listed = [("invalid", number) for number in numbers] + [("positive", number) for number in positive]
    for key, entry in [*scale.items(), *listed]:
        if not _is_number(entry) or (key == "divisor" and entry <= 0):
            raise DataError(f"{path}: {key}: {entry!r} is not a number{' greater than 0' if key == 'divisor' else ''}")
    if kind == "labels" and (not positive or len({0, *numbers, *positive}) < 1 + len(listed)):
        raise DataError(
            f"{path}: positive: is {positive} and invalid: {numbers}, but 0 means that a pixel does not have the label; give "
            "other numbers, and each only once"
        )
    try:
        pairs = [(names.index(one), names.index(other)) for one, other in content.get("swapped", [])]
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}; write swapped as pairs of names, such as [[left, right]]") from None
    try:
        values = Values(tuple(names), kind, unit, None if limits is None else (limits[0], limits[1]), tuple(pairs))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    images = parse_images(content["images"], path) if "images" in content else None
    return ValuesFile(path, values, scale["divisor"], scale["offset"], tuple(numbers), tuple(positive), images)


def _listed(entry: Any) -> list[Any]:
    return entry if isinstance(entry, list) else [entry]


def _is_number(entry: Any) -> bool:
    return isinstance(entry, int | float) and not isinstance(entry, bool) and bool(np.isfinite(entry))
