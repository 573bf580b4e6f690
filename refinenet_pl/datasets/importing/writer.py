"""Writing of annotations as a dataset `folder`: `images`, `masks` and `classes.yaml`."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from tqdm import tqdm

from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.folder import CLASSES_FILE
from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations
from refinenet_pl.datasets.importing.class_list import Unlabeled, background_id, choose_classes, void_color
from refinenet_pl.datasets.importing.images import measure, refuse_ambiguous_names
from refinenet_pl.datasets.importing.output_folder import find_other_splits, move
from refinenet_pl.datasets.importing.rendering import Order, Rendered, render
from refinenet_pl.datasets.importing.splits import assign_splits
from refinenet_pl.datasets.readers.io import read_image
from refinenet_pl.datasets.readers.labels import VOID


@dataclass
class Written:
    """Summary of an import.

    Attributes:
        classes: The classes.
        sizes: Number of images by split.
        regions: Number of regions.
        clipped: Number of regions with points outside their image.
        empty: Number of regions without a pixel.
        upright: Number of images that were saved again, upright.
        left_out: Number of images without an annotation that were left out.
    """

    classes: Classes
    sizes: dict[str, int]
    regions: int = 0
    clipped: int = 0
    empty: int = 0
    upright: int = 0
    left_out: int = 0


def write(
    annotations: Annotations,
    output: Path,
    *,
    split: str | None = None,
    val_share: float | None = None,
    unlabeled: Unlabeled = "background",
    order: Order = "area",
    link: bool = False,
    overwrite: bool = False,
) -> Written:
    """Write annotations as a dataset `folder`.

    All files are written into a temporary folder, which is renamed at the end, so that an error leaves `output` as it was.

    Args:
        annotations: The annotations.
        output: Folder of the dataset. If it exists, the splits are added to those in it.
        split: Split of all images; see `assign_splits`.
        val_share: Share of val; see `assign_splits`.
        unlabeled: Meaning of pixels without an annotation.
        order: Order of overlapping regions; see `render`.
        link: Write links to the images instead of copies.
        overwrite: Replace splits that exist.

    Raises:
        DataError: The annotations are inconsistent, or `output` contains one of the splits or other files.
        OSError: A file cannot be written.
    """
    total = len(annotations.images)
    if unlabeled == "void":
        labeled = [image for image in annotations.images if any(region.label for region in image.regions)]
        annotations = replace(annotations, images=labeled)
    splits = assign_splits(annotations, split, val_share)
    images = [replace(image, split=name) for name, assigned in splits.items() for image in assigned]
    refuse_ambiguous_names(images)
    kept = find_other_splits(output, list(splits), overwrite)
    classes = choose_classes(annotations, unlabeled, output / CLASSES_FILE if kept else None)
    written = Written(classes, {name: len(assigned) for name, assigned in splits.items()}, left_out=total - len(images))
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".import-", dir=output if output.is_dir() else output.parent))
    try:
        new = temporary / "new"
        new.mkdir()
        (new / CLASSES_FILE).write_text(_classes_text(classes), encoding="utf-8")
        fill = background_id(classes) if unlabeled == "background" else VOID
        ids = {name: index for index, name in enumerate(classes.names)}
        for image in tqdm(images, desc="import", unit="image", disable=None):
            size, again = measure(image, annotations.upright)
            rendered = render(image.regions, size, ids, fill, order, annotations.normalized)
            _write_pair(new, image, rendered, classes, again, link)
            written.regions += len(image.regions)
            written.clipped += rendered.clipped
            written.empty += rendered.empty
            written.upright += again
        move(new, output, list(splits), temporary / "old", kept)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return written


def _write_pair(new: Path, image: AnnotatedImage, rendered: Rendered, classes: Classes, again: bool, link: bool) -> None:
    target = new / "images" / str(image.split) / f"{image.name}{'.png' if again else image.path.suffix}"
    mask_file = new / "masks" / str(image.split) / f"{image.name}.png"
    for file in target, mask_file:
        file.parent.mkdir(parents=True, exist_ok=True)
    if again:
        Image.fromarray(read_image(image.path)).save(target)
    elif link:
        target.symlink_to(image.path.resolve())
    else:
        shutil.copyfile(image.path, target)
    mask = Image.fromarray(rendered.mask)
    palette = np.array(VOC_PALETTE, np.uint8)
    palette[: len(classes)] = classes.palette
    palette[VOID] = void_color(classes)
    mask.putpalette(palette.tobytes())
    mask.save(mask_file)


def _classes_text(classes: Classes) -> str:
    content = {"names": list(classes.names), "colors": [list(color) for color in classes.palette]}
    return yaml.safe_dump(content, default_flow_style=None, sort_keys=False, allow_unicode=True, width=120)
