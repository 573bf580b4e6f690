"""The file that names the classes of one's own images, and the class ids of masks by it."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.readers.labels import VOID, LabelValues
from refinenet_pl.datasets.readers.text import composed, read_text
from refinenet_pl.errors import DataError

KEYS = ("names", "colors", "values", "void", "masks")
MOST_CLASSES = 254

Color = tuple[int, int, int]


class ClassesFile(NamedTuple):
    """Content of a file `classes.yaml`.

    Attributes:
        path: The file.
        classes: Names, colors and void id.
        by_color: Whether masks are read by color.
        own_colors: Whether the file gives the colors.
        values: Representation of each class in the masks: a value, or a color if masks are read by color.
        void: The same of void.
    """

    path: Path
    classes: Classes
    by_color: bool
    own_colors: bool
    values: tuple[int, ...] | tuple[Color, ...]
    void: tuple[int, ...] | tuple[Color, ...]


def read_classes(path: Path) -> ClassesFile:
    """Read a file `classes.yaml`; its keys are those that `Folder` describes.

    Raises:
        DataError: The file is missing or no YAML, or a key is unknown, of a wrong type or in contradiction with another.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; it gives the classes, with a line such as `names: [background, road, car]`")
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: is not YAML ({error}); write for example `names: [background, road, car]`") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: must consist of keys with values, such as `names: [background, road, car]`")
    unknown = [str(key) for key in content if key not in KEYS]
    if unknown:
        raise DataError(f"{path}: unknown key {', '.join(unknown)}; the keys are {', '.join(KEYS)}")
    keys = _Keys(path, content)
    names = keys.names()
    if content.get("masks", "values") not in ("values", "colors"):
        raise keys.error("masks", "must be `values` or `colors`")
    by_color = content.get("masks") == "colors"
    own_colors = "colors" in content
    colors = keys.each("colors", keys.color, len(names)) if own_colors else VOC_PALETTE[: len(names)]
    if not by_color:
        values = keys.each("values", keys.value, len(names)) if "values" in content else tuple(range(len(names)))
        void = content.get("void", VOID)
        void = keys.each("void", keys.value, given=void if isinstance(void, list) else [void])
    elif "values" in content:
        raise keys.error("values", "has no meaning with `masks: colors`; remove one of the two")
    else:
        values = colors
        void = keys.each("void", keys.color, given=content.get("void", []))
    both = [value for value in void if value in values]
    if both:
        default = "" if "void" in content else ", which is the default,"
        raise keys.error(
            "void", f"{both[0]}{default} also stands for {names[values.index(both[0])]!r}; give another, or [] for no void"
        )
    return ClassesFile(path, Classes(names, colors, VOID), by_color, own_colors, values, void)


class _Keys:
    """Checks of the values in a classes file; errors name file and key."""

    def __init__(self, path: Path, content: dict[str, Any]):
        self.path = path
        self.content = content

    def error(self, key: str, what: str) -> DataError:
        return DataError(f"{self.path}: {key}: {what}")

    def names(self) -> tuple[str, ...]:
        if "names" not in self.content:
            raise self.error("names", "is missing; give a list such as `names: [background, road, car]`")
        names = self.each("names", self.name)
        if not 2 <= len(names) <= MOST_CLASSES:
            raise self.error(
                "names", f"{len(names)} of them, but there can be 2 to {MOST_CLASSES}; what is not looked for is a class too"
            )
        return names

    def each(self, key: str, convert, number: int | None = None, given: Any = None) -> tuple:
        """The entries of a list, converted; they must differ, and be as many as there are classes where that is given."""
        entries = self.content[key] if given is None else given
        if not isinstance(entries, list):
            raise self.error(key, f"must be a list, not {entries!r}")
        if number not in (None, len(entries)):
            raise self.error(key, f"has {len(entries)} entries for {number} names; give one for each name")
        converted = tuple(convert(key, entry) for entry in entries)
        twice = [entry for entry, count in Counter(converted).items() if count > 1]
        if twice:
            raise self.error(key, f"{_shown(twice[0])} is there more than once")
        return converted

    def name(self, key: str, entry: Any) -> str:
        if not isinstance(entry, str) or not entry.strip():
            raise self.error(
                key, f"{entry!r} is not a name; put words that YAML reads as something else (yes, no, 1) in quotes"
            )
        return composed(entry.strip())

    def value(self, key: str, entry: Any) -> int:
        if type(entry) is not int or not 0 <= entry <= 65535:
            raise self.error(key, f"{entry!r} is not a value in a mask, which are whole numbers from 0 to 65535")
        return entry

    def color(self, key: str, entry: Any) -> Color:
        if (
            not isinstance(entry, list)
            or len(entry) != 3
            or any(type(part) is not int or not 0 <= part <= 255 for part in entry)
        ):
            raise self.error(key, f"{entry!r} is not a colour, which is [red, green, blue] with whole numbers from 0 to 255")
        return tuple(entry)


def _shown(entry: Any) -> str:
    return str(list(entry)) if isinstance(entry, tuple) else repr(entry)


class FileValues(LabelValues):
    """The values that a classes file gives; errors name that file."""

    def __init__(self, file: ClassesFile):
        super().__init__({value: index for index, value in enumerate(file.values)}, file.void)
        self._file = file

    def encode(self, values: np.ndarray, path: Path) -> np.ndarray:
        try:
            return super().encode(values, path)
        except DataError as error:
            raise DataError(
                f"{error} {self._file.path} has {len(self._file.classes)} `names`; add those that are missing, or say with "
                "`values` and `void` what stands for what"
            ) from None


class FileColors:
    """The colors that a classes file gives."""

    def __init__(self, file: ClassesFile):
        self._file = file
        codes = _packed(np.array([*file.values, *file.void], np.uint8))
        ids = np.array([*range(len(file.values)), *[VOID] * len(file.void)], np.uint8)
        order = np.argsort(codes)
        self._codes, self._ids = codes[order], ids[order]

    def encode(self, colors: np.ndarray, path: Path) -> np.ndarray:
        """Class ids of a mask's colors.

        Args:
            colors: uint8 (height, width, 3).
            path: Named in errors.

        Returns:
            uint8 (height, width).

        Raises:
            DataError: A color stands for nothing.
        """
        packed = _packed(colors)
        places = np.searchsorted(self._codes, packed).clip(max=len(self._codes) - 1)
        known = self._codes[places] == packed
        if not known.all():
            raise DataError(f"{path}: {self._explain(colors[~known])}")
        return self._ids[places]

    def _explain(self, unknown: np.ndarray) -> str:
        colors, counts = np.unique(unknown, axis=0, return_counts=True)
        known = np.array(self._file.values, int)
        lines = []
        for index in np.argsort(-counts, kind="stable")[:5]:
            nearest = int(((known - colors[index]) ** 2).sum(1).argmin())
            name = self._file.classes.names[nearest]
            lines.append(
                f"{colors[index].tolist()} in {counts[index]} pixels (nearest: {name!r}, {list(self._file.values[nearest])})"
            )
        more = f" and {len(colors) - 5} more colours" if len(colors) > 5 else ""
        gray = (colors == colors[:, :1]).all()
        by_value = ", or put `masks: values` if its grey values are class ids" if gray else ""
        return (
            f"colours that are neither a class's nor void in {self._file.path}: {'; '.join(lines)}{more}; add them to `colors` "
            f"or `void` there{by_value}; if they lie along outlines, the mask was drawn with soft edges, resized with "
            "interpolation or compressed, and must be saved anew"
        )


def _packed(colors: np.ndarray) -> np.ndarray:
    """One integer for each color in (..., 3)."""
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue
