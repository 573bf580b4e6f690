"""Base class of the datasets on disk: one image file and one mask file per sample."""

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

    A subclass finds the pairs in `find_samples`, and sets its own options before it calls this constructor.

    Attributes:
        root: The folder, with `~` and environment variables expanded.
        values: Class of each value in the mask files.
        mask_palette: Colors required of palette masks; None if the dataset prescribes none.
        strict_orientation: See `read_pair`; False for datasets labeled with MATLAB.
        samples: Samples of the split, in a fixed order.

    Raises:
        DataError: The folder, a list, or a file named by a list is missing.
    """

    root: Path
    values: LabelValues
    mask_palette: tuple[tuple[int, int, int], ...] | None = None
    strict_orientation: bool = False

    def __init__(self, root: str | Path | None, split: str):
        super().__init__(root, split)
        if root is None:
            raise DataError(f"{type(self).__name__} is read from disk; give its folder as root: {self.source}")
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; {self.source}")
        self.samples = locate(self.find_samples())
        if not self.samples:
            raise DataError(f"{self.root}: the split {split} has no images; is the copy complete? {self.source}")

    @abstractmethod
    def find_samples(self) -> list[Sample]:
        """List the split's samples. The constructor checks that their files exist.

        Raises:
            DataError: A list or folder is missing or malformed; the message names it.
        """

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, index: int) -> str:
        """Name of a sample."""
        return self.samples[index].name

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the files of a sample."""
        sample = self.samples[index]
        mask = self.read_mask(sample.mask)
        return read_pair(sample.image, mask, sample.mask, self.strict_orientation, self.image_format), mask

    def read_mask(self, path: Path) -> np.ndarray:
        """Class ids of a mask file, uint8 (height, width)."""
        return read_mask(path, self.values, self.mask_palette)


def listed_samples(listing: Path, images: Path, masks: Path) -> list[Sample]:
    """Samples of a list of names: `NAME.jpg` in the images' folder and `NAME.png` in the masks' folder."""
    return [Sample(name, images / f"{name}.jpg", masks / f"{name}.png") for (name,) in read_list(listing)]


def locate(samples: list[Sample]) -> list[Sample]:
    """Replace each path by its spelling on disk, because lists and folders may use different Unicode forms.

    Each folder is listed once, because testing 40,000 files one by one takes minutes on a network disk.

    Raises:
        DataError: Files are missing; the message names the first one and their number.
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
            raise DataError(f"{missing[0]}{more}: is a link to a missing file; is the disk that holds it connected?")
        raise DataError(f"{missing[0]}{more}: missing, but listed in this split; is the copy complete? Unpack it again")
    return found


def find_folder(root: Path, *candidates: str, source: str) -> Path:
    """First of several candidates, relative to `root`, that is a folder.

    Raises:
        DataError: None of them is.
    """
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    raise DataError(f"{root}: contains no folder {' or '.join(map(repr, candidates))}; {source}")
