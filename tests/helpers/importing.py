"""Import of small annotations, and their masks."""

from pathlib import Path

import numpy as np

from helpers.layouts.files import write_photo
from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations, Polygons, Region
from refinenet_pl.datasets.importing.polygons import rectangle
from refinenet_pl.datasets.importing.writer import write

WIDTH, HEIGHT = 20, 12


def masks(annotations: Annotations, output: Path) -> list[np.ndarray]:
    """Import all images as training images and read their masks."""
    write(annotations, output, split="train")
    dataset = Folder(output, "train")
    return [dataset.read(index)[1] for index in range(len(dataset))]


def region(label: str | None, *corners: float, layer: int = 0) -> Region:
    return Region(label, Polygons((rectangle(*corners),)), "file: shape", layer)


def annotated(folder: Path, *names: str, regions: list[Region] | None = None, classes: str = "cat dog", **more) -> Annotations:
    """Images of 20x12 pixels, each with the same regions."""
    images = []
    for name in names:
        write_photo(folder / f"{name}.jpg", (HEIGHT, WIDTH))
        chosen = [region("cat", 0, 0, 5, 5), region("dog", 10, 0, 20, 12)] if regions is None else regions
        images.append(AnnotatedImage(name, folder / f"{name}.jpg", f"{name}.json", (WIDTH, HEIGHT), list(chosen)))
    return Annotations("source", images, classes.split(), **more)
