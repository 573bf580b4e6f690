"""CVAT for images 1.1: one XML file.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/. Run lengths go along the rows of the mask's own box.
"""

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from refinenet_pl.datasets.classes_file import Color
from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations, Bitmap, Options, Polygons, Region
from refinenet_pl.datasets.importing.fields import number, polygon, refuse_repeated, size_of
from refinenet_pl.datasets.importing.images import find_image, image_folders
from refinenet_pl.datasets.importing.polygons import ellipse, rectangle, rotate
from refinenet_pl.datasets.importing.run_lengths import decode_runs
from refinenet_pl.datasets.readers.text import composed
from refinenet_pl.errors import DataError

_AREAS = ("polygon", "box", "ellipse", "mask")
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")


def read(source: Path, options: Options) -> Annotations:
    """Read a file of CVAT.

    Args:
        source: The XML file, or the folder with `annotations.xml`.
        options: Folder of the images, by default `images` next to the file, with subfolders for the subsets of a project.

    Raises:
        DataError: The file is damaged or of another kind, or an image is missing.
    """
    source = source / "annotations.xml" if source.is_dir() else source
    root, place = _parse(source), str(source)
    names, colors = _labels(root, place)
    folders = image_folders(source, options.images)
    without_area: Counter[str] = Counter()
    images = []
    for element in root.iter("image"):
        name = _attribute(element, "name", place)
        where = f"{place}: image {name}"
        path, stem = find_image([name, f"{element.get('subset', 'default')}/{name}"], folders, where)
        size = size_of(_attribute(element, "width", where), _attribute(element, "height", where), where)
        image = AnnotatedImage(stem, path, where, size)
        for position, shape in enumerate(element, start=1):
            if shape.tag in _WITHOUT_AREA:
                without_area[shape.tag] += 1
            elif shape.tag in _AREAS:
                there = f"{where}: shape {position} ({shape.tag})"
                label = composed(_attribute(shape, "label", there))
                if label not in names:
                    raise DataError(f"{there}: the label {label!r} is not among those of the file; add it to <labels>")
                layer = int(number(shape.get("z_order", 0), there))
                image.regions.append(Region(label, _shape(shape, there), there, layer))
        images.append(image)
    notes = [f"shapes of the type {tag}, left out because they have no area: {count:,}" for tag, count in without_area.items()]
    return Annotations(place, images, names, colors, notes=notes)


def _parse(source: Path) -> ElementTree.Element:
    if not source.is_file():
        raise DataError(f"{source}: no such file; give the XML file of the export")
    try:
        root = ElementTree.parse(source).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"{source}: not XML ({error}); it is truncated or damaged, export the annotations again") from error
    if root.tag != "annotations":
        raise DataError(f"{source}: begins with <{root.tag}>, not <annotations>; export as `CVAT for images 1.1`")
    if root.find("track") is not None:
        raise DataError(f"{source}: contains tracks; export as `CVAT for images 1.1`, not as `CVAT for video 1.1`")
    return root


def _labels(root: ElementTree.Element, place: str) -> tuple[list[str], dict[str, Color]]:
    names: list[str] = []
    colors: dict[str, Color] = {}
    for label in root.iterfind("meta//labels/label"):
        # Labels of whole images, and of lines and points, are no classes of pixels.
        if label.find("parent") is not None or label.findtext("type") in (*_WITHOUT_AREA, "tag"):
            continue
        names.append(composed(label.findtext("name", "").strip()))
        if re.fullmatch("#[0-9a-fA-F]{6}", color := label.findtext("color", "")):
            colors[names[-1]] = int(color[1:3], 16), int(color[3:5], 16), int(color[5:], 16)
    refuse_repeated(names, place)
    return names, colors


def _shape(shape: ElementTree.Element, place: str) -> Polygons | Bitmap:
    def numbers(*keys: str) -> tuple[float, ...]:
        return tuple(number(_attribute(shape, key, place), f"{place}: {key}") for key in keys)

    if shape.tag == "mask":
        left, top, width, height = map(int, numbers("left", "top", "width", "height"))
        text = _attribute(shape, "rle", place)
        return Bitmap(left, top, lambda: _decode(text, width, height))
    degrees = number(shape.get("rotation", 0), place)
    if shape.tag == "box":
        x0, y0, x1, y1 = numbers("xtl", "ytl", "xbr", "ybr")
        return Polygons((rotate(rectangle(x0, y0, x1, y1), degrees, (x0 + x1) / 2, (y0 + y1) / 2),))
    if shape.tag == "ellipse":
        x, y, radius_x, radius_y = numbers("cx", "cy", "rx", "ry")
        return Polygons((rotate(ellipse(x, y, radius_x, radius_y), degrees, x, y),))
    return Polygons((polygon([pair.split(",") for pair in _attribute(shape, "points", place).split(";")], place),))


def _decode(text: str, width: int, height: int) -> np.ndarray:
    return decode_runs([int(word) for word in text.split(",")], width * height).reshape(height, width)


def _attribute(element: ElementTree.Element, key: str, place: str) -> str:
    value = element.get(key)
    if value is None:
        raise DataError(f"{place}: the attribute {key!r} of <{element.tag}> is missing; export the annotations again")
    return value
