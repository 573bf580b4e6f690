"""COCO: one JSON file with images, categories and annotations.

Format: https://cocodataset.org/#format-data. The polygons of an object are united; run lengths go down the columns.
"""

from pathlib import Path
from typing import Any

import numpy as np

from refinenet_pl.datasets.classes_file import Color
from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations, Bitmap, Options, Polygons, Region, Size
from refinenet_pl.datasets.importing.fields import field, polygon, read_json, refuse_repeated, size_of
from refinenet_pl.datasets.importing.images import find_image, image_folders
from refinenet_pl.datasets.importing.run_lengths import decode_runs, decompress
from refinenet_pl.datasets.readers.text import composed
from refinenet_pl.errors import DataError


def read(source: Path, options: Options) -> Annotations:
    """Read a COCO file.

    Args:
        source: The JSON file.
        options: Folder of the images, by default next to the file or its folder; meaning of crowd regions.

    Raises:
        DataError: The file is damaged, refers to unknown ids, or an image is missing.
    """
    content, place = read_json(source), str(source)
    categories = {}
    colors: dict[str, Color] = {}
    for entry in field(content, "categories", list, place):
        name = composed(field(entry, "name", str, f"{place}: a category"))
        identity = field(entry, "id", int, f"{place}: category {name!r}")
        if identity in categories:
            raise DataError(f"{place}: two categories have the id {identity}; give each its own")
        categories[identity] = name
        match entry.get("color"):
            case [int(red), int(green), int(blue)] if max(red, green, blue) <= 255 and min(red, green, blue) >= 0:
                colors[name] = red, green, blue
    refuse_repeated(list(categories.values()), place)
    images = _images(content, source, image_folders(source, options.images))
    crowds = 0
    for entry in field(content, "annotations", list, place):
        where = f"{place}: annotation {entry.get('id', '') if isinstance(entry, dict) else ''}".rstrip()
        image = images.get(field(entry, "image_id", int, where))
        if image is None:
            raise DataError(f"{where}: there is no image with the id {entry['image_id']}; add it, or remove the annotation")
        category = field(entry, "category_id", int, where)
        if category not in categories:
            raise DataError(f"{where}: there is no category with the id {category}; add it to `categories`")
        crowd = bool(entry.get("iscrowd", 0))
        crowds += crowd
        label = None if crowd and options.crowd == "void" else categories[category]
        assert image.size is not None
        image.regions.append(Region(label, _shape(entry, image.size, where), where))
    notes = []
    if crowds and options.crowd == "void":
        notes.append(f"crowd regions (iscrowd), which are void unless --crowd class gives them their class: {crowds:,}")
    return Annotations(place, list(images.values()), list(categories.values()), colors, upright=False, notes=notes)


def _images(content: Any, source: Path, folders: list[Path]) -> dict[int, AnnotatedImage]:
    images: dict[int, AnnotatedImage] = {}
    for entry in field(content, "images", list, str(source)):
        place = f"{source}: image {entry.get('id', '') if isinstance(entry, dict) else ''}".rstrip()
        identity = field(entry, "id", int, place)
        if identity in images:
            raise DataError(f"{place}: two images have this id; give each its own")
        path, name = find_image([field(entry, "file_name", str, place)], folders, place)
        images[identity] = AnnotatedImage(name, path, place, size_of(entry.get("width"), entry.get("height"), place))
    return images


def _shape(entry: dict[str, Any], size: Size, place: str) -> Polygons | Bitmap:
    segmentation = entry.get("segmentation")
    if not segmentation:
        raise DataError(
            f"{place}: has no mask (segmentation), as in files of boxes, keypoints or panoptic segments; export masks or "
            "polygons, or remove the annotation"
        )
    if isinstance(segmentation, list):
        return Polygons(tuple(_polygon(coordinates, place) for coordinates in segmentation))
    height_width = field(segmentation, "size", list, place)
    if height_width != [size[1], size[0]]:
        raise DataError(f"{place}: its mask has [height, width] {height_width}, but its image is {size[0]}x{size[1]}")
    counts = segmentation.get("counts")
    if not isinstance(counts, (list, str)):
        raise DataError(f"{place}: counts must be a list of run lengths or a text, not {counts!r}")

    def decode() -> np.ndarray:
        runs = decompress(counts) if isinstance(counts, str) else counts
        return decode_runs(runs, size[0] * size[1]).reshape(size).T

    return Bitmap(0, 0, decode)


def _polygon(coordinates: Any, place: str) -> np.ndarray:
    if not isinstance(coordinates, list) or len(coordinates) % 2:
        raise DataError(f"{place}: each polygon must be a list [x1, y1, x2, y2, ...] with an even number of coordinates")
    return polygon(list(zip(coordinates[::2], coordinates[1::2], strict=True)), place)
