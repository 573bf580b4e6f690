"""Label Studio: its JSON export, a list of tasks.

Format: https://labelstud.io/guide/task_format, and https://labelstud.io/guide/export for the units: coordinates are
percentages, and rectangles are rotated around their upper left corner. Browsers display images upright.
"""

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations, Bitmap, Options, Polygons, Region, Size
from refinenet_pl.datasets.importing.fields import field, number, polygon, read_class_list, read_json, size_of
from refinenet_pl.datasets.importing.images import find_image, image_folders
from refinenet_pl.datasets.importing.polygons import ellipse, rectangle, rotate
from refinenet_pl.datasets.importing.run_lengths import decode_brush
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS, composed
from refinenet_pl.errors import DataError

# Results of other types, such as key points, choices and texts, have no area.
_AREAS = ("polygonlabels", "brushlabels", "rectanglelabels", "ellipselabels", "labels")
_UNLABELED = ("polygon", "brush", "rectangle", "ellipse")


def read(source: Path, options: Options) -> Annotations:
    """Read an export of Label Studio.

    Args:
        source: The JSON file.
        options: Folder of the images, by default next to the file; list of the classes, by default in the order of their first
            occurrence.

    Raises:
        DataError: The file is damaged or of another kind, or an image is missing.
    """
    tasks = read_json(source)
    if not isinstance(tasks, list):
        raise DataError(f"{source}: must be a list of tasks; export as JSON")
    names = [] if options.classes is None else read_class_list(options.classes)
    folders = image_folders(source, options.images)
    images = []
    left_out: Counter[str] = Counter()
    for position, task in enumerate(tasks, start=1):
        place = f"{source}: task {task.get('id', position) if isinstance(task, dict) else position}"
        if isinstance(task, dict) and "data" not in task:
            raise DataError(f"{place}: is in the format JSON-MIN, which has no annotators; export as JSON")
        made = field(task, "annotations", list, place)
        valid = [each for each in made if isinstance(each, dict) and not each.get("was_cancelled")]
        if not valid:
            left_out["tasks left out because they are not annotated"] += 1
            continue
        # The annotation that was marked as ground truth, otherwise the one that was changed last.
        chosen = max(valid, key=lambda each: (bool(each.get("ground_truth")), str(each.get("updated_at", ""))))
        left_out["annotations left out because their tasks have others (ground truth, or changed later)"] += len(valid) - 1
        path, name = find_image([_image_name(field(task, "data", dict, place), place)], folders, place)
        image = AnnotatedImage(name, path, place, None)
        results = field(chosen, "result", list, place)
        kinds = [
            field(result, "type", str, f"{place}: result {index}").lower() for index, result in enumerate(results, start=1)
        ]
        # With separate tags for shapes and labels, a region has two results with the same id.
        labeled = {str(result.get("id")) for kind, result in zip(kinds, results, strict=True) if kind in _AREAS}
        for index, (kind, result) in enumerate(zip(kinds, results, strict=True), start=1):
            if kind in _AREAS:
                _add(image, kind, result, f"{place}: result {index}")
            elif kind not in _UNLABELED:
                left_out[f"results of the type {kind}, left out because they have no area"] += 1
            elif str(result.get("id")) not in labeled:
                left_out["regions left out because they have no label"] += 1
        images.append(image)
        if options.classes is None:
            names += dict.fromkeys(each.label for each in image.regions if each.label and each.label not in names)
    notes = [f"{text}: {count:,}" for text, count in left_out.items() if count]
    return Annotations(str(source), images, names, notes=notes)


def _image_name(data: dict[str, Any], place: str) -> str:
    """Path of the task's image: of an upload, in a storage (`s3://...`) or on a disk (`/data/local-files/?d=...`)."""
    for value in data.values():
        if not isinstance(value, str):
            continue
        address = urlsplit(value)
        for path in (address.query.removeprefix("d="), address.path, value):
            if path.lower().endswith(IMAGE_EXTENSIONS):
                return unquote(path)
    raise DataError(f"{place}: its data name no image ({' '.join(IMAGE_EXTENSIONS)}); export the tasks of images only")


def _add(image: AnnotatedImage, kind: str, result: dict[str, Any], place: str) -> None:
    """Append the region of a result to those of its image."""
    value = field(result, "value", dict, place)
    labels = field(value, kind, list, place)
    if len(labels) != 1:
        raise DataError(f"{place}: has {len(labels)} labels, but a pixel has one class; correct it in Label Studio")
    size = size_of(result.get("original_width"), result.get("original_height"), place)
    if number(result.get("image_rotation") or 0, place):
        raise DataError(f"{place}: was made on an image rotated in Label Studio; rotate the file instead and annotate it again")
    if image.size not in (None, size):
        raise DataError(f"{place}: is for {size[0]}x{size[1]}, but others of its image are not; export the task again")
    image.size = size
    image.regions.append(Region(composed(str(labels[0])), _shape(value, size, place), place))


def _shape(value: dict[str, Any], size: Size, place: str) -> Polygons | Bitmap:
    if "rle" in value:
        packed = field(value, "rle", list, place)
        return Bitmap(0, 0, lambda: decode_brush(packed, *size))

    def pixels(*keys: str) -> tuple[float, float]:
        x, y = (number(value.get(key), f"{place}: {key}") / 100 for key in keys)
        return x * size[0], y * size[1]

    if "points" in value:
        return Polygons((polygon(value["points"], place) * size / 100,))
    x, y = pixels("x", "y")
    degrees = number(value.get("rotation") or 0, place)
    if "radiusX" in value:
        return Polygons((rotate(ellipse(x, y, *pixels("radiusX", "radiusY")), degrees, x, y),))
    width, height = pixels("width", "height")
    return Polygons((rotate(rectangle(x, y, x + width, y + height), degrees, x, y),))
