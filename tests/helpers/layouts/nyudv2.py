"""NYU Depth v2: one HDF5 file with all images and labels, and two small .mat files."""

from pathlib import Path

import numpy as np
import scipy.io

from helpers.matlab import cell, matlab73

HEIGHT, WIDTH = 60, 80
COUNT = 7
# Numbers from 1, in the order of splits.mat.
TRAIN, TEST = (3, 5, 7), (2, 6)
SPLITS = {"train": [f"{number:04}" for number in TRAIN], "test": [f"{number:04}" for number in TEST]}
# As in the official mapping, most of the 894 labels belong to the last three classes, and one to each of the others.
MAP_CLASS = np.random.default_rng(40).permutation(np.repeat(np.arange(1, 41), [1] * 37 + [68, 82, 707])).astype(np.uint8)
CLASS_NAMES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter", "blinds",
    "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books", "refridgerator",
    "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp",
    "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip


def image_of(name: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(int(name)).integers(0, 256, (height, width, 3), np.uint8)


def classes_of(name: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Official classes: 1 to 40, and 0 for unlabeled pixels."""
    return np.random.default_rng(1000 + int(name)).integers(0, 41, (height, width))


def mask_of(name: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    classes = classes_of(name, height, width)
    return np.where(classes == 0, 255, classes - 1)


def labels_of(name: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Labels before the mapping, uint16 in 0..894, which the mapping converts to `classes_of`."""
    rng = np.random.default_rng(2000 + int(name))
    classes = classes_of(name, height, width)
    labels = np.zeros((height, width), np.uint16)
    for class_id in range(1, 41):
        here = classes == class_id
        labels[here] = rng.choice(np.flatnonzero(class_id == MAP_CLASS) + 1, here.sum())
    return labels


def depth_of(name: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Depth in meters, float32, as in the official file between 0.7 and 10."""
    return np.random.default_rng(3000 + int(name)).uniform(0.7, 9.9, (height, width)).astype(np.float32)


def build(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_labeled(root / "nyu_depth_v2_labeled.mat", HEIGHT, WIDTH)
    splits = {"trainNdxs": np.array(TRAIN, np.uint16)[:, None], "testNdxs": np.array(TEST, np.uint16)[:, None]}
    scipy.io.savemat(root / "splits.mat", splits)
    scipy.io.savemat(root / "classMapping40.mat", {"mapClass": MAP_CLASS[None], "className": cell(CLASS_NAMES)})


def write_labeled(path: Path, height: int, width: int) -> None:
    """Write the large file. MATLAB's axes are height, width, (channel,) sample; HDF5 has them in reverse."""
    names = [str(number) for number in range(1, COUNT + 1)]
    images = np.stack([image_of(name, height, width) for name in names])
    labels = np.stack([labels_of(name, height, width) for name in names])
    with matlab73(path) as file:
        file["images"] = images.transpose(0, 3, 2, 1)
        file["labels"] = labels.transpose(0, 2, 1)
        file["depths"] = np.stack([depth_of(name, height, width).T for name in names])
