"""Annotations in memory, as all formats are read: images, and the regions of each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from refinenet_pl.datasets.classes_file import Color

Size = tuple[int, int]
"""Width and height in pixels."""


class Polygons(NamedTuple):
    """Union of polygons.

    Attributes:
        parts: Vertices of each polygon, float64 (vertices, 2), x and y.
    """

    parts: tuple[np.ndarray, ...]


class Bitmap(NamedTuple):
    """Mask of a part of the image.

    Attributes:
        left: Column of the mask's first pixel in the image.
        top: Row of that pixel.
        read: Function that decodes the mask to bool (height, width); it raises a ValueError if the mask is damaged.
    """

    left: int
    top: int
    read: Callable[[], np.ndarray]


class Region(NamedTuple):
    """An annotated area.

    Attributes:
        label: Name of its class; None for void.
        shape: The area.
        place: File and position of the annotation, to begin an error with.
        layer: Regions of a higher layer cover those of a lower one.
    """

    label: str | None
    shape: Polygons | Bitmap
    place: str
    layer: int = 0


@dataclass
class AnnotatedImage:
    """An image with its regions.

    Attributes:
        name: Path in the imported dataset, without extension, with slashes.
        path: Image file.
        place: File and position of the annotations, to begin an error with.
        size: Size to which the annotations refer; None if they do not state it, and refer to the upright image.
        regions: Regions in the order of the file.
        split: Name of the split; None if the annotations do not define splits.
    """

    name: str
    path: Path
    place: str
    size: Size | None
    regions: list[Region] = field(default_factory=list)
    split: str | None = None


@dataclass
class Annotations:
    """Content of annotation files.

    Attributes:
        source: Description of the files, to begin an error with.
        images: The images.
        names: Names of the classes, in order.
        colors: Colors of classes, by name, if the annotations have any.
        normalized: True if x and y are shares of width and height, False if they are pixels.
        upright: True if the annotations refer to the image with its EXIF orientation applied, False if this is unknown.
        notes: Messages about annotations that are left out, for the user.
    """

    source: str
    images: list[AnnotatedImage]
    names: list[str]
    colors: dict[str, Color] = field(default_factory=dict)
    normalized: bool = False
    upright: bool = True
    notes: list[str] = field(default_factory=list)


class Options(NamedTuple):
    """Options of the readers.

    Attributes:
        images: Folder of the images; None for the places where the format's tools put them.
        classes: Text file with one class name per line; None if the annotations define the classes.
        crowd: Meaning of COCO's crowd regions: void, or their class.
    """

    images: Path | None = None
    classes: Path | None = None
    crowd: Literal["void", "class"] = "void"
