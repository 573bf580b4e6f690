"""Custom datasets of continuous values: two folders of images and targets, and a file that defines the values."""

from pathlib import Path

import numpy as np

from refinenet_pl.datasets.base import ValueDataset
from refinenet_pl.datasets.file_pairs import Sample
from refinenet_pl.datasets.folder_pairs import find_pairs
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.label_targets import find_label_files, read_labels
from refinenet_pl.datasets.readers.channels import check_images, extensions_of
from refinenet_pl.datasets.readers.io import read_pair
from refinenet_pl.datasets.readers.targets import TARGET_EXTENSIONS, read_stored
from refinenet_pl.datasets.values import Values
from refinenet_pl.datasets.values_file import ValuesFile, read_values
from refinenet_pl.errors import DataError
from refinenet_pl.files import expand_path

VALUES_FILE = "values.yaml"

# Max number of targets that are checked when a split is opened.
CHECKED = 16
# Median depth in meters above which a dataset is assumed to be in millimeters.
IMPLAUSIBLE_METERS = 200


class ValueFolder(ValueDataset):
    """A custom dataset of depth, normals, heatmaps, labels or other values.

    `root` contains `values.yaml` and the splits in the layouts of `Folder`, with `targets` in place of `masks`. A target is a
    PNG of 8 or 16 bits, a TIFF (also floating-point) or a NumPy file with the name of its image, apart from the extension.
    Labels have a mask for each label in a folder of its name (`targets/train/LABEL/NAME.png`), or one file per image in
    `targets/train`: a mask of a single label, or a NumPy file with all of them. Keys of `values.yaml`:

    - `names`: list of the channels' names; by default [depth] or [x, y, z] by `kind`.
    - `kind`: `depth`, `normals`, `heatmap`, `labels` or `other` (default), see `Kind`.
    - `unit`: unit of the values, such as m.
    - `divisor`: stored number of one unit, such as 1000 for millimeters in meters; by default 1.
    - `offset`: number to add after the division, such as -1 for normals stored as 0..255 with `divisor: 127.5`; by default 0.
    - `invalid`: stored number, or list of stored numbers, that mean unknown; NaN always does.
    - `range`: [min, max] of valid values; others are errors.
    - `swapped`: pairs of names whose channels swap when an image is flipped, such as [[left hand, right hand]].
    - `positive`: for labels, in place of `unit`, `divisor`, `offset` and `range`: stored number, or list of stored numbers,
      that mean that a pixel has the label; by default [1, 255]. 0 means that it does not have it.
    - `images`: format of images other than 8-bit RGB: `channels`, and `range`, [min, max] of the pixel values, which are mapped
      to 0..255. Images can then also be NumPy files, and have 16 bits or floating-point values, see `read_channels`.

    Attributes:
        file: Content of `values.yaml`.
        targets: Files of the target of each sample; several only for labels.

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
        self.values, self.image_format = self.file.values, self.file.images
        self.samples, self.targets, self.left_out = self._find(self.root)
        if not self.samples:
            raise DataError(f"{self.root}: the split {split} has no images; {self.source}")
        self._refuse_implausible_targets()
        if self.image_format is not None:
            check_images([sample.image for sample in self.samples], self.image_format)

    @classmethod
    def values_of(cls, root: str | Path | None) -> Values:
        """Values of the `values.yaml` at `root`."""
        return cls._file_at(root).values

    @classmethod
    def image_format_of(cls, root: str | Path | None) -> ImageFormat | None:
        """Format of the images by the `values.yaml` at `root`."""
        return cls._file_at(root).images

    @classmethod
    def _file_at(cls, root: str | Path | None) -> ValuesFile:
        if root is None:
            raise DataError(f"{cls.__name__} reads its values from disk; give its folder as root: {cls.source}")
        return read_values(expand_path(root, DataError) / VALUES_FILE)

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, index: int) -> str:
        """Name of a sample."""
        return self.samples[index].name

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the files of a sample."""
        sample = self.samples[index]
        target = self._read_target(index)
        return read_pair(sample.image, target[..., 0], sample.mask, format=self.image_format), target

    def _find(self, root: Path) -> tuple[list[Sample], list[tuple[Path, ...]], str]:
        """Samples, files of their targets, and description of the files that are left out."""
        extensions = extensions_of(self.image_format)
        if self.values.kind == "labels":
            return find_label_files(root, self.split, self.values.names, self.source, extensions)
        found = find_pairs(root, self.split, "target", TARGET_EXTENSIONS, self.source, image_extensions=extensions)
        samples, left_out = found
        return samples, [(sample.mask,) for sample in samples], left_out

    def _read_target(self, index: int) -> np.ndarray:
        """Values of a sample, float32 (height, width, channels), NaN where unknown."""
        paths = self.targets[index]
        if self.values.kind == "labels":
            return read_labels(paths, self.file)
        return self.file.decode(read_stored(paths[0]), paths[0])

    def _refuse_implausible_targets(self) -> None:
        """Raise a DataError if the targets can be read, but obviously not with this meaning."""
        indices = np.linspace(0, len(self) - 1, min(len(self), CHECKED), dtype=int).tolist()
        known = []
        for index in indices:
            target = self._read_target(index)
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
