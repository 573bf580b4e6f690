"""Classes of an imported dataset: the background, the colors, and agreement with splits that were imported before."""

from itertools import chain
from pathlib import Path
from typing import Literal

from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.classes_file import MOST_CLASSES, Color, read_classes
from refinenet_pl.datasets.importing.annotations import Annotations
from refinenet_pl.datasets.readers.labels import VOID
from refinenet_pl.errors import DataError

Unlabeled = Literal["background", "void"]

BACKGROUND = "background"


def choose_classes(annotations: Annotations, unlabeled: Unlabeled, existing: Path | None) -> Classes:
    """Choose the classes.

    Args:
        annotations: The annotations.
        unlabeled: Meaning of pixels without an annotation. For `background`, the class of this name is the background, or one
            is added as the first class.
        existing: `classes.yaml` of other splits, whose classes are kept; None if there are none.

    Raises:
        DataError: There are too few or too many classes, a label is not among them, or the existing file lacks some.
    """
    names = list(annotations.names)
    if unlabeled == "background" and not any(map(is_background, names)):
        names.insert(0, BACKGROUND)
    if not 2 <= len(names) <= MOST_CLASSES:
        few = "; --unlabeled background adds the background as a class" if len(names) < 2 else ""
        raise DataError(f"{annotations.source}: has {len(names)} classes, but 2 to {MOST_CLASSES} are possible{few}")
    for region in chain.from_iterable(image.regions for image in annotations.images):
        if region.label is not None and region.label not in names:
            raise DataError(f"{region.place}: the label {region.label!r} is not in the list of classes; add it, or correct it")
    if existing is None:
        return Classes(tuple(names), _colors(names, annotations.colors))
    file = read_classes(existing)
    if file.by_color or file.void != (VOID,) or file.values != tuple(range(len(file.classes))):
        raise DataError(f"{existing}: was not written by `data import`; choose another output folder")
    lacking = [name for name in names if name not in file.classes.names]
    if lacking:
        raise DataError(
            f"{existing}: lacks the class {lacking[0]!r} of {annotations.source}; list all classes in both imports "
            "(--classes), or choose another output folder"
        )
    return file.classes


def is_background(name: str) -> bool:
    """Return True for `background` in the spellings of annotation tools, such as `_background_`."""
    return name.strip("_ ").casefold() == BACKGROUND


def background_id(classes: Classes) -> int:
    """Class id of the background."""
    return next(index for index, name in enumerate(classes.names) if is_background(name))


def void_color(classes: Classes) -> Color:
    """Color of void in palette masks: that of PASCAL VOC, or another one that no class has."""
    return next(color for color in reversed(VOC_PALETTE) if color not in classes.palette)


def _colors(names: list[str], given: dict[str, Color]) -> tuple[Color, ...]:
    """Distinct colors: those of the annotations if they are, otherwise those of PASCAL VOC; black only for the background."""
    taken: dict[str, Color] = {}
    for name in names:
        color = given.get(name, (0, 0, 0) if is_background(name) else None)
        if color is not None and color not in taken.values():
            taken[name] = color
    free = (color for color in VOC_PALETTE[1:VOID] if color not in taken.values())
    return tuple(taken[name] if name in taken else next(free) for name in names)
