"""PASCAL-Context in both of its forms: the original .mat files, and the PNGs of MMSegmentation's converter."""

from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from helpers.layouts.voc2012 import write_lines, write_picture

# The classes as the task orders them: VOC's 20, then the others.
OBJECTS = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "table", "dog", "horse", "motorbike",
    "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
OTHERS = (
    "bag", "bed", "bench", "book", "building", "cabinet", "ceiling", "cloth", "computer", "cup", "door", "fence", "floor",
    "flower", "food", "grass", "ground", "keyboard", "light", "mountain", "mouse", "curtain", "platform", "sign", "plate",
    "road", "rock", "shelves", "sidewalk", "sky", "snow", "bedclothes", "track", "tree", "truck", "wall", "water", "window",
    "wood",
)  # fmt: skip
# labels.txt is sorted by name, and so are these numbers from it.
NUMBERS = dict(
    zip(
        sorted(OBJECTS + OTHERS),
        (
            2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
            162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
            415, 416, 420, 424, 427, 440, 445, 454, 458,
        ),
        strict=True,
    )
)  # fmt: skip
# Size (height, width) of each picture, in the order of VOC 2010's lists.
TRAIN = {"2008_000008": (60, 80), "2008_000015": (64, 76), "2008_000019": (80, 60)}
VAL = {"2008_000002": (60, 80), "2008_000003": (72, 60), "2008_000007": (54, 80)}


def names_in(name: str) -> list[str]:
    """The classes in a picture: every third, so that a split's three pictures have all."""
    return list((OBJECTS + OTHERS)[[*TRAIN, *VAL].index(name) % 3 :: 3])


def labels_of(name: str) -> np.ndarray:
    """The LabelMap, uint16: numbers of classes, of labels that are none, and 0."""
    rng = np.random.default_rng(int(name[-6:]))
    numbers = [NUMBERS[class_name] for class_name in names_in(name)]
    background = np.setdiff1d(np.arange(460), list(NUMBERS.values()))
    size = (TRAIN | VAL)[name]
    return np.where(rng.random(size) < 0.1, rng.choice(background, size), rng.choice(numbers, size)).astype(np.uint16)


def mask_of(name: str) -> np.ndarray:
    """Class ids in the order of the task, 0 for background."""
    labels = labels_of(name)
    mask = np.zeros(labels.shape, np.uint8)
    for class_id, class_name in enumerate(OBJECTS + OTHERS, start=1):
        mask[labels == NUMBERS[class_name]] = class_id
    return mask


def alphabetical_mask_of(name: str) -> np.ndarray:
    """What MMSegmentation's converter writes: ranks of the sorted numbers, 0 for background."""
    labels = labels_of(name)
    return np.where(np.isin(labels, list(NUMBERS.values())), np.digitize(labels, sorted(NUMBERS.values())), 0).astype(np.uint8)


def build(root: Path) -> None:
    voc = root / "VOCdevkit" / "VOC2010"
    build_devkit(voc)
    (root / "trainval").mkdir()
    for name in TRAIN | VAL:
        scipy.io.savemat(root / "trainval" / f"{name}.mat", {"LabelMap": labels_of(name)}, do_compression=True)
    names = {number: name for name, number in NUMBERS.items()}
    write_lines(root / "labels.txt", [f"{number}: {names.get(number, f'thing {number}')}" for number in range(1, 460)])
    task = {"table": "diningtable", "bedclothes": "bedcloth", "cloth": "clothes"}
    write_lines(
        root / "59_labels.txt", [f"{number}: {task.get(name, name)}" for number, name in enumerate(OBJECTS + OTHERS, start=1)]
    )


def build_devkit(voc: Path) -> None:
    """Write the pictures and lists of VOC 2010, those of each kind of object among them."""
    lists = voc / "ImageSets" / "Main"
    splits = {"train": list(TRAIN), "val": list(VAL), "trainval": [*TRAIN, *VAL]}
    for split, names in splits.items():
        write_lines(lists / f"{split}.txt", names)
        for object_name in OBJECTS:
            kind = "diningtable" if object_name == "table" else object_name
            states = [f"{name} {1 if object_name in names_in(name) else -1:2}" for name in names]
            write_lines(lists / f"{kind}_{split}.txt", states)
    for name, size in (TRAIN | VAL).items():
        write_picture(voc / "JPEGImages" / f"{name}.jpg", size, int(name[-6:]))


def build_converted(root: Path, masks: dict[str, np.ndarray]) -> None:
    """Write the other form: pictures and lists of VOC 2010, and these masks where MMSegmentation's converter has its own."""
    voc = root / "VOCdevkit" / "VOC2010"
    build_devkit(voc)
    (voc / "SegmentationClassContext").mkdir()
    for name, mask in masks.items():
        Image.fromarray(mask).save(voc / "SegmentationClassContext" / f"{name}.png")
    for split, names in {"train": TRAIN, "val": VAL}.items():
        write_lines(voc / "ImageSets" / "SegmentationContext" / f"{split}.txt", sorted(names))
