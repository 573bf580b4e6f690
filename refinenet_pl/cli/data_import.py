"""`refinenet data import`: convert annotations of other formats into a dataset `folder`."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import OpenUnitInterval

from refinenet_pl.datasets.importing import coco, cvat, label_studio, labelme, yolo
from refinenet_pl.datasets.importing.annotations import Annotations, Options
from refinenet_pl.datasets.importing.class_list import Unlabeled
from refinenet_pl.datasets.importing.rendering import Order
from refinenet_pl.datasets.importing.splits import VAL_SHARE
from refinenet_pl.datasets.importing.writer import Written, write
from refinenet_pl.errors import DataError
from refinenet_pl.files import expand_path

READERS: Mapping[str, Callable[[Path, Options], Annotations]] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "labelme": labelme.read,
    "cvat": cvat.read,
    "label_studio": label_studio.read,
}
Format = Literal["coco", "yolo", "labelme", "cvat", "label_studio"]

# Options of some formats only.
_OWN_OPTIONS = {"classes": ("yolo", "labelme", "label_studio"), "crowd": ("coco",)}

HELP = "convert annotations (COCO, YOLO, labelme, CVAT, Label Studio) into a folder of masks"
DESCRIPTION = (
    "Convert annotations into the layout of the dataset `folder`. A pixel belongs to a polygon if its center does. Of "
    "overlapping regions, the smaller one covers the larger one. Nothing is written if the annotations have an error."
)


def parser() -> ArgumentParser:
    """Build the parser of the options."""
    built = ArgumentParser(description=DESCRIPTION)
    built.add_argument("format", type=Format, help=f"format of the annotations: {', '.join(READERS)}")
    built.add_argument("source", help="JSON or XML file, data.yaml, or folder of the annotations")
    built.add_argument("output", help="folder to write; if it has other splits, these remain")
    built.add_argument("--images", type=str | None, help="folder of the images; by default, next to the annotations")
    built.add_argument("--classes", type=str | None, help="text file with the class names in order, one per line")
    built.add_argument("--split", type=Literal["train", "val", "test"] | None, help="split of all images")
    share = f"share of the images for val, chosen by name; by default, {VAL_SHARE}"
    built.add_argument("--val_share", type=OpenUnitInterval | None, help=share)
    built.add_argument("--unlabeled", type=Unlabeled, default="background", help="meaning of pixels without annotation")
    built.add_argument("--crowd", type=Literal["void", "class"], default="void", help="meaning of COCO's crowd regions")
    built.add_argument("--order", type=Order, default="area", help="order of overlaps: smaller or later regions on top")
    built.add_argument("--link", action="store_true", help="link the images instead of copying them")
    built.add_argument("--overwrite", action="store_true", help="replace splits that exist")
    return built


def run(chosen: Namespace) -> None:
    """Import annotations and print a summary.

    Args:
        chosen: Values of the options of `parser`.

    Raises:
        DataError: The annotations or options are invalid, or the output exists.
        OSError: A file cannot be written.
    """
    defaults = Options()
    for option, formats in _OWN_OPTIONS.items():
        if chosen.format not in formats and chosen[option] != getattr(defaults, option):
            raise DataError(f"--{option}: is for {', '.join(formats)} only; {chosen.format} defines this itself, so remove it")
    images, classes = (path and expand_path(path, DataError) for path in (chosen.images, chosen.classes))
    annotations = READERS[chosen.format](expand_path(chosen.source, DataError), Options(images, classes, chosen.crowd))
    written = write(
        annotations,
        expand_path(chosen.output, DataError),
        split=chosen.split,
        val_share=chosen.val_share,
        unlabeled=chosen.unlabeled,
        order=chosen.order,
        link=chosen.link,
        overwrite=chosen.overwrite,
    )
    print(*_summary(annotations, written, chosen.output), sep="\n")


def _summary(annotations: Annotations, written: Written, output: str) -> list[str]:
    sizes = ", ".join(f"{split} {number:,}" for split, number in written.sizes.items())
    counts = {
        "regions clipped because they have points outside their image": written.clipped,
        "regions without a pixel, because they contain no pixel center": written.empty,
        "images saved upright as PNG, because their EXIF orientation preserves their size": written.upright,
        "images left out because they have no annotation": written.left_out,
    }
    return [
        f"written: {output}: {sum(written.sizes.values()):,} images ({sizes}), {written.regions:,} regions",
        f"classes: {', '.join(written.classes.names)}",
        *(f"note: {note}" for note in annotations.notes),
        *(f"note: {text}: {count:,}" for text, count in counts.items() if count),
        "next:",
        f"  refinenet data check folder {shlex.quote(output)}",
        f"  refinenet fit -c folder --data.root {shlex.quote(output)}",
    ]
