"""PASCAL-Context in both of its forms: the original .mat files, and the PNGs of MMSegmentation's converter."""

from pathlib import Path

import numpy as np
import scipy.io

from helpers.layouts.files import generator, write_image, write_lines, write_photo

VOC = "VOCdevkit/VOC2010"
# The classes in the order of the task: VOC's 20, then the others.
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
# Numbers in labels.txt, which is sorted by name.
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
SIZES = {
    "2008_000008": (60, 80),
    "2008_000015": (64, 76),
    "2008_000019": (80, 60),
    "2008_000002": (60, 80),
    "2008_000003": (72, 60),
    "2008_000007": (54, 80),
}
# In the order of VOC 2010's lists.
SPLITS = {"train": list(SIZES)[:3], "val": list(SIZES)[3:]}


def names_in(name: str) -> list[str]:
    """The classes in an image: every third, so that the three images of a split contain all of them."""
    return list((OBJECTS + OTHERS)[list(SIZES).index(name) % 3 :: 3])


def labels_of(name: str) -> np.ndarray:
    """The LabelMap, uint16: numbers of classes, numbers of other labels, and 0."""
    rng, size = generator(name), SIZES[name]
    numbers = [NUMBERS[class_name] for class_name in names_in(name)]
    background = np.setdiff1d(np.arange(460), list(NUMBERS.values()))
    return np.where(rng.random(size) < 0.1, rng.choice(background, size), rng.choice(numbers, size)).astype(np.uint16)


def mask_of(name: str) -> np.ndarray:
    """Class ids in the order of the task, 0 for background."""
    labels = labels_of(name)
    mask = np.zeros(labels.shape, np.uint8)
    for class_id, class_name in enumerate(OBJECTS + OTHERS, start=1):
        mask[labels == NUMBERS[class_name]] = class_id
    return mask


def alphabetical_mask_of(name: str) -> np.ndarray:
    """The mask of MMSegmentation's converter: ranks of the sorted numbers, 0 for background."""
    labels = labels_of(name)
    return np.where(np.isin(labels, list(NUMBERS.values())), np.digitize(labels, sorted(NUMBERS.values())), 0).astype(np.uint8)


def image_path(name: str) -> str:
    return f"{VOC}/JPEGImages/{name}.jpg"


def build(root: Path) -> None:
    build_devkit(root)
    (root / "trainval").mkdir()
    for name in SIZES:
        scipy.io.savemat(root / "trainval" / f"{name}.mat", {"LabelMap": labels_of(name)}, do_compression=True)
    names = {number: name for name, number in NUMBERS.items()}
    write_lines(root / "labels.txt", [f"{number}: {names.get(number, f'thing {number}')}" for number in range(1, 460)])


def build_devkit(root: Path) -> None:
    """Write the images and lists of VOC 2010, including the lists of each object class."""
    lists = root / VOC / "ImageSets/Main"
    for split, names in {**SPLITS, "trainval": list(SIZES)}.items():
        write_lines(lists / f"{split}.txt", names)
        for object_name in OBJECTS:
            kind = "diningtable" if object_name == "table" else object_name
            states = [f"{name} {1 if object_name in names_in(name) else -1:2}" for name in names]
            write_lines(lists / f"{kind}_{split}.txt", states)
    for name, size in SIZES.items():
        write_photo(root / image_path(name), size)


def build_converted(root: Path, masks: dict[str, np.ndarray]) -> None:
    """Write the form of MMSegmentation's converter, with these masks."""
    build_devkit(root)
    for name, mask in masks.items():
        write_image(root / VOC / f"SegmentationClassContext/{name}.png", mask)
    for split, names in SPLITS.items():
        write_lines(root / VOC / f"ImageSets/SegmentationContext/{split}.txt", sorted(names))
