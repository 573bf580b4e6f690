"""NYU Depth v2: one HDF5 file with all pictures and labels, and two small .mat files beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import scipy.io

HEIGHT, WIDTH = 60, 80
COUNT = 7
# Numbers from 1, in the order of splits.mat.
TRAIN, TEST = (3, 5, 7), (2, 6)
# As the official mapping, most of the 894 labels go to the last three classes and one to each of the others.
MAP_CLASS = np.random.default_rng(40).permutation(np.repeat(np.arange(1, 41), [1] * 37 + [68, 82, 707])).astype(np.uint8)
CLASS_NAMES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter", "blinds",
    "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books", "refridgerator",
    "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp",
    "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip


def picture_of(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def classes_of(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Official classes: 1 to 40, and 0 where nothing is labelled."""
    return np.random.default_rng(1000 + number).integers(0, 41, (height, width))


def labels_of(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Labels before the mapping, uint16 in 0..894, such that the mapping gives `classes_of`."""
    rng = np.random.default_rng(2000 + number)
    classes = classes_of(number, height, width)
    labels = np.zeros((height, width), np.uint16)
    for class_id in range(1, 41):
        here = classes == class_id
        labels[here] = rng.choice(np.flatnonzero(class_id == MAP_CLASS) + 1, here.sum())
    return labels


def build(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_labelled(root / "nyu_depth_v2_labeled.mat", HEIGHT, WIDTH)
    scipy.io.savemat(
        root / "splits.mat",
        {"trainNdxs": np.array(TRAIN, np.uint16)[:, None], "testNdxs": np.array(TEST, np.uint16)[:, None]},
    )
    scipy.io.savemat(
        root / "classMapping40.mat",
        {
            "mapClass": MAP_CLASS[None],
            "className": cell(CLASS_NAMES),
            "allClassName": cell([f"thing {number}" for number in range(1, 895)]),
        },
    )


def write_labelled(path: Path, height: int, width: int) -> None:
    """Write the large file; MATLAB's axes are height, width, (channel,) sample, and HDF5 has them in reverse."""
    numbers = range(1, COUNT + 1)
    images = np.stack([picture_of(number, height, width) for number in numbers])
    labels = np.stack([labels_of(number, height, width) for number in numbers])
    with matlab73(path) as file:
        file["images"] = images.transpose(0, 3, 2, 1)
        file["labels"] = labels.transpose(0, 2, 1)
        file["instances"] = np.ones((COUNT, width, height), np.uint8)
        file["depths"] = np.ones((COUNT, width, height), np.float32)
        names = [file.create_dataset(f"#refs#/{index}", data=text(f"thing {index}")) for index in range(1, 895)]
        file.create_dataset("names", data=np.array([[name.ref for name in names]], h5py.ref_dtype))
        for name in file:
            if name != "#refs#":
                kind = "cell" if name == "names" else {"f4": "single", "u1": "uint8", "u2": "uint16"}[file[name].dtype.str[1:]]
                file[name].attrs["MATLAB_class"] = np.bytes_(kind)


@contextmanager
def matlab73(path: Path) -> Iterator[h5py.File]:
    """A new MATLAB 7.3 file: HDF5 behind a user block with MATLAB's own header."""
    with h5py.File(path, "w", userblock_size=512) as file:
        yield file
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 2 12:00:00 2012 HDF5 schema 1.00 ."
    with path.open("r+b") as file:
        file.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")


def text(value: str) -> np.ndarray:
    """A MATLAB string in HDF5: UTF-16 codes, one a row."""
    return np.frombuffer(value.encode("utf-16-le"), np.uint16)[:, None]


def cell(values) -> np.ndarray:
    """A MATLAB cell array of one row, for `scipy.io.savemat`."""
    array = np.empty((1, len(values)), object)
    array[0, :] = values
    return array
