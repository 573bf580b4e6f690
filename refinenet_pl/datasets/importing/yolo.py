"""YOLO segmentation labels: a text file for each image, with a class number and a polygon per line.

Format: https://docs.ultralytics.com/datasets/segment/. Coordinates are shares of the size of the upright image. `data.yaml`
names the classes and the images of each split; the labels of `.../images/a.jpg` are in `.../labels/a.txt`.
"""

from pathlib import Path
from typing import Any

from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations, Options, Polygons, Region
from refinenet_pl.datasets.importing.fields import polygon, read_class_list, refuse_repeated
from refinenet_pl.datasets.importing.images import stem
from refinenet_pl.datasets.readers.finding import find_files
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS, composed, read_text
from refinenet_pl.datasets.readers.yaml_files import read_keys
from refinenet_pl.errors import DataError

_Found = tuple[str | None, Path, str]
"""Split, file and name of an image."""


def read(source: Path, options: Options) -> Annotations:
    """Read YOLO labels.

    Args:
        source: `data.yaml`, or the folder with it, or a folder with `images`, `labels` and a list of the classes.
        options: List of the classes if there is no `data.yaml`, by default `classes.txt` in the folder; folder of the images,
            by default `images`.

    Raises:
        DataError: A file is missing or damaged, or there are no labels.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; give data.yaml, or the folder with it")
    file = source if source.is_file() else source / "data.yaml"
    if not file.exists() or options.classes is not None:
        names = read_class_list(options.classes or source / "classes.txt")
        return _annotations(source, names, [(None, *image) for image in _images_in(options.images or source / "images")])
    if options.images is not None:
        raise DataError(f"--images: {file} names the folders of the images; correct them there, and remove this option")
    content = read_keys(file, "train: images/train")
    content.setdefault("val", content.get("validation"))
    splits = {split: content[split] for split in ("train", "val", "test") if content.get(split)}
    if not splits:
        raise DataError(f"{file}: has none of the keys train, val and test; write for example `train: images/train`")
    alone = len(splits) == 1  # a single split is no partition; the user chooses one
    found: list[_Found] = [
        (None if alone else split, *image)
        for split, entries in splits.items()
        for entry in (entries if isinstance(entries, list) else [entries])
        for image in _images_in(_resolve(str(entry), content, file))
    ]
    return _annotations(file, _names(content, file), found)


def _names(content: dict[str, Any], file: Path) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise DataError(f"{file}: names: the class numbers must be 0 to {len(names) - 1}, without gaps")
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: names: must list the classes, such as `names: [cat, dog]`")
    if content.get("nc", len(names)) != len(names):
        raise DataError(f"{file}: nc is {content['nc']}, but there are {len(names)} names; correct one of them")
    names = [composed(str(name)) for name in names]
    refuse_repeated(names, str(file))
    return names


def _resolve(entry: str, content: dict[str, Any], file: Path) -> Path:
    """Folder or list of a split: relative to `path`, which is relative to the file."""
    root = file.parent / str(content.get("path") or "")
    # Some exports begin with a superfluous `../`, which Ultralytics drops as well; others state a `path` of another computer.
    candidates = [base / text for base in (root, file.parent) for text in (entry, entry.removeprefix("../"))]
    existing = [path for path in candidates if path.exists()]
    if not existing:
        raise DataError(f"{file}: there is no {candidates[0]}; correct `path` and the paths of the splits")
    return existing[0]


def _images_in(place: Path) -> list[tuple[Path, str]]:
    """Images of a folder or of a text file with one path per line, and their names."""
    if place.is_file():
        lines = [line.strip() for line in read_text(place).split("\n") if line.strip()]
        paths = [place.parent / line for line in lines]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DataError(f"{place}: lists {missing[0]}, which does not exist; correct the list, or add the image")
        return [(path, stem(path.name)) for path in paths]
    if not place.is_dir():
        raise DataError(f"{place}: no such folder; put the images there, or give their folder with --images")
    return [(path, stem(path.relative_to(place).as_posix())) for path in find_files(place, IMAGE_EXTENSIONS)[0]]


def _annotations(source: Path, names: list[str], found: list[_Found]) -> Annotations:
    images, labeled = [], 0
    for split, path, name in found:
        file = _label_file(path)
        image = AnnotatedImage(name, path, str(file), None, split=split)
        if file.is_file():  # an image without objects has no file
            labeled += 1
            lines = enumerate(read_text(file).split("\n"), start=1)
            image.regions = [_region(line.split(), names, f"{file}:{number}") for number, line in lines if line.strip()]
        images.append(image)
    if not labeled:
        expected = f", such as {images[0].place}" if images else ""
        raise DataError(f"{source}: there are no label files{expected}; put them into `labels`, next to `images`")
    return Annotations(str(source), images, names, normalized=True)


def _label_file(path: Path) -> Path:
    """Label file of an image: its path with the last folder `images` replaced by `labels`."""
    parts = list(path.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _region(words: list[str], names: list[str], place: str) -> Region:
    index = int(words[0]) if words[0].isdecimal() else -1
    if not 0 <= index < len(names):
        raise DataError(f"{place}: {words[0]} is not a class number; there are the classes 0 to {len(names) - 1}")
    if len(words) == 5:
        raise DataError(f"{place}: is a box (x, y, width, height), not a polygon; export segmentation labels")
    if len(words) % 2 == 0:
        raise DataError(f"{place}: has an odd number of coordinates; write the class number and x y of each point")
    vertices = polygon(list(zip(words[1::2], words[2::2], strict=True)), place)
    if abs(vertices).max() > 2:
        raise DataError(
            f"{place}: {abs(vertices).max():g} is not a share of the size; divide x by the width and y by the height"
        )
    return Region(names[index], Polygons((vertices,)), place)
