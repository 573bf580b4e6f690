"""Custom datasets of continuous values: two folders of images and targets, and a file that defines the values."""

from pathlib import Path

import numpy as np

from refinenet_pl.datasets.base import ValueDataset
from refinenet_pl.datasets.folder_pairs import find_pairs
from refinenet_pl.datasets.readers.io import read_pair
from refinenet_pl.datasets.readers.targets import TARGET_EXTENSIONS, read_stored
from refinenet_pl.datasets.values import Values
from refinenet_pl.datasets.values_file import read_values
from refinenet_pl.errors import DataError
from refinenet_pl.files import expand_path

VALUES_FILE = "values.yaml"

# Max number of targets that are checked when a split is opened.
CHECKED = 16
# Median depth in meters above which a dataset is assumed to be in millimeters.
IMPLAUSIBLE_METERS = 200


class ValueFolder(ValueDataset):
    """A custom dataset of depth, normals, heatmaps or other values.

    `root` contains `values.yaml` and the splits in the layouts of `Folder`, with `targets` in place of `masks`. A target is a
    PNG of 8 or 16 bits, a TIFF (also floating-point) or a NumPy file with the name of its image, apart from the extension. Keys
    of `values.yaml`:

    - `names`: list of the channels' names; by default [depth] or [x, y, z] by `kind`.
    - `kind`: `depth`, `normals`, `heatmap` or `other` (default), see `Kind`.
    - `unit`: unit of the values, such as m.
    - `divisor`: stored number of one unit, such as 1000 for millimeters in meters; by default 1.
    - `offset`: number to add after the division, such as -1 for normals stored as 0..255 with `divisor: 127.5`; by default 0.
    - `invalid`: stored number, or list of stored numbers, that mean unknown; NaN always does.
    - `range`: [min, max] of valid values; others are errors.
    - `swapped`: pairs of names whose channels swap when an image is flipped, such as [[left hand, right hand]].

    Attributes:
        file: Content of `values.yaml`.

    Raises:
        DataError: In addition, `values.yaml` contradicts itself, an image or a target lacks its counterpart, or the targets are
            implausible.
    """

    title = "Custom dataset of values"
    split_sizes = {"train": None, "val": None, "test": None}
    source = (
        "your own folder: values.yaml with `kind: depth, unit: m, divisor: 1000`, images in images/train and images/val, their "
        "targets (PNG, TIFF or .npy, with the same names) in targets/train and targets/val; or all of them in images and "
        "targets, with lists train.txt and val.txt of file names"
    )
    license = "your own"

    def __init__(self, root: str | Path | None, split: str):
        super().__init__(root, split)
        if self.root is None or not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; {self.source}")
        self.file = read_values(self.root / VALUES_FILE)
        self.values = self.file.values
        self.samples, self.left_out = find_pairs(self.root, split, "target", TARGET_EXTENSIONS, self.source)
        if not self.samples:
            raise DataError(f"{self.root}: the split {split} has no images; {self.source}")
        self._refuse_implausible_targets()

    @classmethod
    def values_of(cls, root: str | Path | None) -> Values:
        """Values of the `values.yaml` at `root`."""
        if root is None:
            raise DataError(f"{cls.__name__} reads its values from disk; give its folder as root: {cls.source}")
        return read_values(expand_path(root, DataError) / VALUES_FILE).values

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, index: int) -> str:
        """Name of a sample."""
        return self.samples[index].name

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the files of a sample."""
        sample = self.samples[index]
        target = self.file.decode(read_stored(sample.mask), sample.mask)
        return read_pair(sample.image, target[..., 0], sample.mask), target

    def _refuse_implausible_targets(self) -> None:
        """Raise a DataError if the targets can be read, but obviously not with this meaning."""
        indices = np.linspace(0, len(self) - 1, min(len(self), CHECKED), dtype=int).tolist()
        known = []
        for index in indices:
            path = self.samples[index].mask
            target = self.file.decode(read_stored(path), path)
            known.append(target[~np.isnan(target)])
        found = np.concatenate(known)
        first = self.samples[0].mask
        if not found.size:
            raise DataError(
                f"{first} and the other targets of the split {self.split} are unknown in every pixel; correct `invalid` in "
                f"{self.file.path}"
            )
        median = float(np.median(found))
        if self.values.kind == "depth" and self.values.unit == "m" and median > IMPLAUSIBLE_METERS:
            raise DataError(
                f"{first} and the other targets of the split {self.split} have a median depth of {median:g} m; if they are "
                f"stored in millimeters, write `divisor: 1000` into {self.file.path}, or correct `unit`"
            )
