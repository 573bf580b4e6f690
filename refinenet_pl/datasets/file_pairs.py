"""Datasets with an image file and a mask file for each sample, as all on disk."""

import os
from abc import abstractmethod
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.readers.finding import answers
from refinenet_pl.datasets.readers.io import read_mask, read_pair
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.datasets.readers.text import composed, read_list
from refinenet_pl.errors import DataError


class Sample(NamedTuple):
    """One image with its mask."""

    name: str
    image: Path
    mask: Path


class PairedDataset(SegmentationDataset):
    """A split whose samples are pairs of files.

    A subclass finds the pairs in `find_samples`. Options of its own are set before it calls this constructor.

    Attributes:
        values: Class of each value in the mask files.
        mask_palette: Colors that palette masks must have, if the dataset prescribes them.
        strict_orientation: See `read_pair`; False for datasets labeled with MATLAB.
        samples: The split's samples, in a fixed order.

    Raises:
        DataError: The folder, a list, or a file that a list names is missing.
    """

    values: LabelValues
    mask_palette: tuple[tuple[int, int, int], ...] | None = None
    strict_orientation: bool = False

    def __init__(self, root: str | Path | None, split: str):
        super().__init__(root, split)
        if self.root is None:
            raise DataError(f"{type(self).__name__} is read from disk: give its folder as root; {self.source}")
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; {self.source}")
        self.samples = locate(self.find_samples())
        if not self.samples:
            raise DataError(f"{self.root}: the split {split} names no pictures; is the copy complete? {self.source}")

    @abstractmethod
    def find_samples(self) -> list[Sample]:
        """The split's samples. That their files exist is checked afterwards; that lists and folders do is for this method.

        Raises:
            DataError: A list or folder is missing or malformed; the message names it.
        """

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, index: int) -> str:
        return self.samples[index].name

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        sample = self.samples[index]
        mask = self.read_mask(sample.mask)
        return read_pair(sample.image, mask, sample.mask, self.strict_orientation), mask

    def read_mask(self, path: Path) -> np.ndarray:
        """Class ids of a mask file, uint8 (height, width)."""
        return read_mask(path, self.values, self.mask_palette)


def listed_samples(listing: Path, images: Path, masks: Path) -> list[Sample]:
    """The samples of a list of names: NAME.jpg and NAME.png in their folders."""
    return [Sample(name, images / f"{name}.jpg", masks / f"{name}.png") for (name,) in read_list(listing)]


def locate(samples: list[Sample]) -> list[Sample]:
    """Find each sample's files as their folders spell them: lists and folders may differ in the Unicode form of names.

    Folders are listed once, because asking for each of 40,000 files takes minutes on a network disk.

    Raises:
        DataError: Files are missing; the message names the first and gives their number.
    """

    @cache
    def files_in(folder: Path) -> set[str]:
        try:
            with os.scandir(folder) as entries:
                return {entry.name for entry in entries if answers(entry.is_file)}
        except OSError:
            return set()

    @cache
    def spelled(folder: Path) -> dict[str, str]:
        return {composed(name): name for name in files_in(folder)}

    missing = []

    def located(path: Path) -> Path:
        if path.name in files_in(path.parent):
            return path
        name = spelled(path.parent).get(composed(path.name))
        if name is None:
            missing.append(path)
            return path
        return path.with_name(name)

    found = [sample._replace(image=located(sample.image), mask=located(sample.mask)) for sample in samples]
    if missing:
        more = f" (and {len(missing) - 1} more files)" if len(missing) > 1 else ""
        if missing[0].is_symlink():
            raise DataError(f"{missing[0]}{more}: is a link to a file that is not there; is the disk that holds it connected?")
        raise DataError(f"{missing[0]}{more}: missing, but listed in this split; is the copy complete? Unpack it again")
    return found


def find_folder(root: Path, *candidates: str, source: str) -> Path:
    """The first of several places, relative to `root`, that is a folder.

    Raises:
        DataError: None is.
    """
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    raise DataError(f"{root}: holds no folder {' or '.join(map(repr, candidates))}; {source}")
