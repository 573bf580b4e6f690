"""`classes.yaml`, which defines the classes of a custom dataset, and the decoding of masks by it."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.image_format import ImageFormat, parse_images
from refinenet_pl.datasets.readers.labels import VOID, LabelValues
from refinenet_pl.datasets.readers.text import composed
from refinenet_pl.datasets.readers.yaml_files import read_keys
from refinenet_pl.errors import DataError

KEYS = ("names", "colors", "values", "void", "masks", "images")
MOST_CLASSES = 254

Color = tuple[int, int, int]
_Entry = TypeVar("_Entry", bound=Hashable)


class ClassesFile(NamedTuple):
    """Content of a file `classes.yaml`.

    Attributes:
        path: The file.
        classes: Names, colors and void id.
        own_colors: True if the file lists colors.
        by_color: True if masks are read by color, in which case the palette gives the color of each class.
        values: Value of each class in the masks; empty if they are read by color.
        void: Values of void in the masks; empty if they are read by color.
        void_colors: Colors of void in the masks; empty if they are read by value.
        images: Format of the images; None for 8-bit RGB.
    """

    path: Path
    classes: Classes
    own_colors: bool
    by_color: bool
    values: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    void_colors: tuple[Color, ...] = ()
    images: ImageFormat | None = None


def read_classes(path: Path) -> ClassesFile:
    """Read a file `classes.yaml`; `Folder` describes its keys.

    Raises:
        DataError: The file is missing or not YAML, or a key is unknown, has a wrong type or contradicts another.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; it defines the classes, with a line such as `names: [background, road, car]`")
    content = read_keys(path, "names: [background, road, car]", KEYS)
    keys = _Keys(path, content)
    names = keys.names()
    if content.get("masks", "values") not in ("values", "colors"):
        raise keys.error("masks", "must be `values` or `colors`")
    own_colors = "colors" in content
    colors = keys.each("colors", content["colors"], keys.color, len(names)) if own_colors else VOC_PALETTE[: len(names)]
    classes = Classes(names, colors, VOID)
    images = parse_images(content["images"], path) if "images" in content else None
    if content.get("masks") == "colors":
        if "values" in content:
            raise keys.error("values", "has no meaning with `masks: colors`; remove one of the two")
        void_colors = keys.each("void", content.get("void", []), keys.color)
        keys.refuse_void_class(void_colors, colors, names)
        return ClassesFile(path, classes, own_colors, by_color=True, void_colors=void_colors, images=images)
    values = tuple(range(len(names)))
    if "values" in content:
        values = keys.each("values", content["values"], keys.value, len(names))
    given = content.get("void", VOID)
    void = keys.each("void", given if isinstance(given, list) else [given], keys.value)
    keys.refuse_void_class(void, values, names)
    return ClassesFile(path, classes, own_colors, by_color=False, values=values, void=void, images=images)


class _Keys:
    """Checks of the values in a classes file; errors name the file and the key."""

    def __init__(self, path: Path, content: dict[str, Any]):
        self.path = path
        self.content = content

    def error(self, key: str, problem: str) -> DataError:
        return DataError(f"{self.path}: {key}: {problem}")

    def names(self) -> tuple[str, ...]:
        if "names" not in self.content:
            raise self.error("names", "missing; give a list such as `names: [background, road, car]`")
        names = self.each("names", self.content["names"], self.name)
        if not 2 <= len(names) <= MOST_CLASSES:
            raise self.error("names", f"{len(names)} classes, but 2 to {MOST_CLASSES} are possible; background is a class too")
        return names

    def each(
        self, key: str, entries: Any, convert: Callable[[str, Any], _Entry], number: int | None = None
    ) -> tuple[_Entry, ...]:
        """The entries of a list, converted; they must be distinct, and as many as `number` if it is given."""
        if not isinstance(entries, list):
            raise self.error(key, f"must be a list, not {entries!r}")
        if number not in (None, len(entries)):
            raise self.error(key, f"has {len(entries)} entries for {number} names; give one per name")
        converted = tuple(convert(key, entry) for entry in entries)
        repeated = [entry for entry, count in Counter(converted).items() if count > 1]
        if repeated:
            raise self.error(key, f"{_shown(repeated[0])} occurs more than once")
        return converted

    def name(self, key: str, entry: Any) -> str:
        if not isinstance(entry, str) or not entry.strip():
            raise self.error(key, f"{entry!r} is not a name; quote words that YAML reads as another type (yes, no, 1)")
        return composed(entry.strip())

    def value(self, key: str, entry: Any) -> int:
        if type(entry) is not int or not 0 <= entry <= 65535:
            raise self.error(key, f"{entry!r} is not a mask value, an integer from 0 to 65535")
        return entry

    def color(self, key: str, entry: Any) -> Color:
        match entry:
            case [int(red), int(green), int(blue)] if all(type(part) is int and 0 <= part <= 255 for part in entry):
                return red, green, blue
        raise self.error(key, f"{entry!r} is not a color, [red, green, blue] with integers from 0 to 255")

    def refuse_void_class(self, void: Sequence[_Entry], of_classes: Sequence[_Entry], names: Sequence[str]) -> None:
        """Raise a DataError if void has the value or color of a class."""
        for entry in void:
            if entry in of_classes:
                default = "" if "void" in self.content else ", the default,"
                name = names[of_classes.index(entry)]
                raise self.error("void", f"{_shown(entry)}{default} also means {name!r}; choose another, or [] for no void")


def _shown(entry: Hashable) -> str:
    return str(list(entry)) if isinstance(entry, tuple) else repr(entry)


class FileValues(LabelValues):
    """The values that a classes file defines; errors name that file.

    Args:
        file: Content of the file.
    """

    def __init__(self, file: ClassesFile):
        super().__init__({value: index for index, value in enumerate(file.values)}, file.void)
        self._file = file

    def encode(self, values: np.ndarray, place: Path | str) -> np.ndarray:
        """Class ids of a mask's values; see `LabelValues.encode`."""
        try:
            return super().encode(values, place)
        except DataError as error:
            raise DataError(
                f"{error} {self._file.path} has {len(self._file.classes)} `names`; add the missing ones, or define the values "
                "with `values` and `void`"
            ) from None


class FileColors:
    """The colors that a classes file defines.

    Args:
        file: Content of the file.
    """

    def __init__(self, file: ClassesFile):
        self._file = file
        palette = file.classes.palette
        codes = _packed(np.array([*palette, *file.void_colors], np.uint8))
        ids = np.array([*range(len(palette)), *[VOID] * len(file.void_colors)], np.uint8)
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
            DataError: A color is neither that of a class nor void.
        """
        packed = _packed(colors)
        places = np.searchsorted(self._codes, packed).clip(max=len(self._codes) - 1)
        known = self._codes[places] == packed
        if not known.all():
            raise DataError(f"{path}: {self._explain(colors[~known])}")
        return self._ids[places]

    def _explain(self, unknown: np.ndarray) -> str:
        colors, counts = np.unique(unknown, axis=0, return_counts=True)
        names, palette = self._file.classes.names, self._file.classes.palette
        lines = []
        for index in np.argsort(-counts, kind="stable")[:5]:
            nearest = int(((np.array(palette) - colors[index]) ** 2).sum(1).argmin())
            lines.append(
                f"{colors[index].tolist()} in {counts[index]} pixels (nearest: {names[nearest]!r}, {list(palette[nearest])})"
            )
        more = f" and {len(colors) - 5} more colors" if len(colors) > 5 else ""
        gray = (colors == colors[:, :1]).all()
        by_value = ", or set `masks: values` if its gray values are class ids" if gray else ""
        return (
            f"colors that are neither a class nor void in {self._file.path}: {'; '.join(lines)}{more}; add them to `colors` or "
            f"`void` there{by_value}. If they occur along outlines, the mask was antialiased, resized with interpolation or "
            "compressed with loss: save it again from the original labels"
        )


def _packed(colors: np.ndarray) -> np.ndarray:
    """One integer for each color in (..., 3)."""
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue
