"""Labelme: a JSON file for each image.

Format: https://github.com/wkentaro/labelme (labelme/_label_file.py, labelme/utils/shape.py). Its conventions: the label
`__ignore__` is void, `_background_` is background, and images are displayed upright.
"""

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations, Bitmap, Options, Polygons, Region
from refinenet_pl.datasets.importing.fields import field, number, polygon, read_class_list, read_json, size_of
from refinenet_pl.datasets.importing.images import find_image, image_folders, stem
from refinenet_pl.datasets.importing.polygons import ellipse, rectangle
from refinenet_pl.datasets.readers.finding import find_files
from refinenet_pl.datasets.readers.text import composed
from refinenet_pl.errors import DataError

IGNORED = "__ignore__"
# Shapes without an area.
_LINES = ("line", "linestrip", "point", "points")


def read(source: Path, options: Options) -> Annotations:
    """Read labelme's files.

    Args:
        source: Folder with the JSON files, also in subfolders, or one such file.
        options: Folder of the images, by default as the files state it; list of the classes, by default in the order of their
            first occurrence.

    Raises:
        DataError: There are no files, one is damaged, or an image is missing.
    """
    files, root = ([source], source.parent) if source.is_file() else (find_files(source, (".json",))[0], source)
    if not files:
        raise DataError(f"{source}: contains no JSON files; give the folder of labelme's files")
    images: list[AnnotatedImage] = []
    names = [] if options.classes is None else [name for name in read_class_list(options.classes) if name != IGNORED]
    without_area: Counter[str] = Counter()
    for file in files:
        content = read_json(file)
        shapes = field(content, "shapes", list, str(file))
        recorded = field(content, "imagePath", str, str(file))
        # A renamed image has the name of its annotations.
        beside = f"{file.stem}{Path(recorded).suffix}"
        path, _ = find_image([recorded, beside], image_folders(file, options.images), str(file))
        given = content.get("imageWidth"), content.get("imageHeight")
        size = None if None in given else size_of(*given, str(file))
        image = AnnotatedImage(stem(file.relative_to(root).as_posix()), path, str(file), size)
        for position, shape in enumerate(shapes, start=1):
            place = f"{file}: shape {position}"
            label = composed(field(shape, "label", str, place))
            kind = shape.get("shape_type") or "polygon"
            if kind in _LINES:
                without_area[kind] += 1
                continue
            image.regions.append(Region(None if label == IGNORED else label, _shape(shape, kind, place), place))
            if options.classes is None and label != IGNORED and label not in names:
                names.append(label)
        images.append(image)
    notes = [
        f"shapes of the type {kind}, left out because they have no area: {count:,}" for kind, count in without_area.items()
    ]
    return Annotations(str(source), images, names, notes=notes)


def _shape(shape: dict[str, Any], kind: str, place: str) -> Polygons | Bitmap:
    points = field(shape, "points", list, place)
    if kind in ("polygon", "oriented_rectangle") or (kind == "rectangle" and len(points) == 4):
        return Polygons((polygon(points, place),))
    if kind not in ("rectangle", "circle", "mask"):
        raise DataError(f"{place}: the shape type {kind!r} is unknown; use polygon, rectangle, circle or mask")
    match points:
        case [[x0, y0], [x1, y1]]:
            x0, y0, x1, y1 = (number(value, place) for value in (x0, y0, x1, y1))
        case _:
            raise DataError(f"{place}: a {kind} must have two points [x, y], not {points!r}")
    if kind == "rectangle":
        return Polygons((rectangle(x0, y0, x1, y1),))
    if kind == "circle":  # its center and a point on it
        radius = float(np.hypot(x1 - x0, y1 - y0))
        return Polygons((ellipse(x0, y0, radius, radius),))
    encoded = field(shape, "mask", str, place)
    return Bitmap(int(x0), int(y0), lambda: _decode(encoded))


def _decode(encoded: str) -> np.ndarray:
    """Decode a mask: a PNG as base64."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            return np.asarray(image.convert("L")) > 0
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"the mask is not a PNG in base64 ({error})") from error
