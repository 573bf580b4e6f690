"""NYU Depth v2: 1,449 photographs of rooms, 640x480, 40 classes."""

from pathlib import Path
from typing import Literal

import numpy as np

from refinenet_pl.datasets.cache import Conversion, cache_folder, convert
from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.datasets.readers.matlab import open_hdf5, read_mat
from refinenet_pl.errors import DataError

NYU_CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter", "blinds",
    "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books", "refridgerator",
    "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp",
    "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip
"""The 40 classes in the order of classMapping40.mat, spelled as there."""

RAW_LABELS = 894
"""The labels that classMapping40.mat maps to the 40 classes; 0 is none."""

_SIZE = (480, 640)
_CROPS = {"border": np.s_[6:474, 7:632], "valid": np.s_[44:471, 40:601]}
_VARIABLES = {"train": "trainNdxs", "test": "testNdxs"}


class NYUDv2(PairedDataset):
    """The labeled part of the NYU Depth dataset, version 2; its depths are not read.

    `root` holds `nyu_depth_v2_labeled.mat`, `splits.mat` and `classMapping40.mat`. Images and masks are converted to PNGs
    when a split is first opened. Samples are called by their number in the file, from 0001.

    Evaluation: unlabeled pixels are dropped, one confusion matrix over the 654 test images, mean over 40 classes.

    Args:
        root: The folder.
        split: `train` or `test`.
        crop: The part of each 640x480 image and mask to keep; None keeps everything.
            `border` (625x468) removes the white border, as in the images of RefineNet's authors and of its PyTorch port.
            `valid` (561x427) is the region with a valid depth projection, which the dataset's toolbox advises.
        cache: Folder for the PNGs, about 1 GB; `refinenet_pl_cache` in `root` if not given.
        crop_border: Former name of `crop`; refused.

    Raises:
        DataError: Also for an unknown crop, and for `crop_border`.
    """

    title = "NYUDv2"
    classes = Classes(names=NYU_CLASSES, palette=VOC_PALETTE[1:41])
    split_sizes = {"train": 795, "test": 654}
    values = LabelValues.plain(40)
    source = (
        "nyu_depth_v2_labeled.mat (2.8 GB) of https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html, and beside it splits.mat "
        "and classMapping40.mat, for instance of https://github.com/VainF/nyuv2-python-toolkit"
    )
    licence = "none is given; its authors ask to be cited"

    def __init__(
        self,
        root: str | Path | None,
        split: str,
        crop: Literal["border", "valid"] | None = None,
        cache: str | None = None,
        crop_border: bool | None = None,
    ):
        if crop_border is not None:
            raise DataError(
                "NYUDv2: the option crop_border is now called crop; write crop: border (625x468, as the images of RefineNet's "
                "authors), crop: valid (561x427, as crop_border: true) or nothing (640x480, as crop_border: false)"
            )
        if crop not in (None, *_CROPS):
            raise DataError(f"NYUDv2 has no crop {crop!r}; it has {' and '.join(_CROPS)}, or null to keep everything")
        self.crop = crop
        self.cache = cache
        super().__init__(root, split)

    def find_samples(self) -> list[Sample]:
        labelled, mapping = self.root / "nyu_depth_v2_labeled.mat", self.root / "classMapping40.mat"
        numbers = _read_numbers(self.root / "splits.mat", _VARIABLES[self.split], _count(labelled))
        values = _read_mapping(mapping)
        folder = cache_folder(self.root, self.cache, "nyudv2")
        samples = [
            Sample(f"{number:04}", folder / "pictures" / f"{number:04}.png", folder / "masks" / f"{number:04}.png")
            for number in numbers
        ]
        numbered = list(zip(numbers, samples, strict=True))
        pictures = [Conversion(sample.image, (labelled,), (number,)) for number, sample in numbered]
        masks = [Conversion(sample.mask, (labelled, mapping), (number, values)) for number, sample in numbered]
        convert(pictures, _read_picture, f"{self.title} {self.split} pictures")
        convert(masks, _read_labels, f"{self.title} {self.split} masks")
        return samples

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = super().read(index)
        if self.crop is None:
            return image, mask
        if mask.shape != _SIZE:
            raise DataError(
                f"{self.samples[index].image}: crop: {self.crop} is for images of 640x480, but this one is "
                f"{mask.shape[1]}x{mask.shape[0]}; leave crop out"
            )
        kept = _CROPS[self.crop]
        return image[kept], mask[kept]


def _read_picture(file: Path, number: int) -> np.ndarray:
    """uint8 (height, width, 3)."""
    with open_hdf5(file) as content:
        return content["images"][number - 1].transpose(2, 1, 0)


def _read_labels(file: Path, number: int, values: LabelValues) -> np.ndarray:
    """Class ids, uint8 (height, width)."""
    with open_hdf5(file) as content:
        labels = content["labels"][number - 1].T
    return values.encode(labels, f"{file}: labels(:, :, {number})")


def _count(file: Path) -> int:
    """The number of images in the file; a DataError if they or their labels are not as expected."""
    with open_hdf5(file) as content:
        images, labels = content["images"], content["labels"]
        count, *channels_and_size = images.shape
        if (
            images.dtype != np.uint8
            or labels.dtype.kind != "u"
            or len(channels_and_size) != 3
            or channels_and_size[0] != 3
            or labels.shape != (count, *channels_and_size[1:])
        ):
            raise DataError(
                f"{file}: expected uint8 images (N, 3, width, height) and unsigned labels (N, width, height), found "
                f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}; is this the official file? Copy it anew"
            )
    return count


def _read_numbers(file: Path, variable: str, count: int) -> list[int]:
    """Numbers of a split's samples, from 1."""
    numbers = np.atleast_1d(read_mat(file, variable)[variable])
    if numbers.ndim != 1 or not np.isin(numbers, np.arange(1, count + 1)).all() or len(set(numbers.tolist())) < len(numbers):
        raise DataError(
            f"{file}: {variable} is to hold each number once, within 1..{count}, the pictures of nyu_depth_v2_labeled.mat; is "
            "this the official file? Copy both anew"
        )
    return [int(number) for number in numbers]


def _read_mapping(file: Path) -> LabelValues:
    mapping = read_mat(file, "mapClass")["mapClass"]
    if np.shape(mapping) != (RAW_LABELS,) or not np.isin(mapping, np.arange(1, 41)).all():
        raise DataError(
            f"{file}: mapClass is to hold {RAW_LABELS} numbers within 1..40; is this the official file? Copy it anew"
        )
    return LabelValues({label: int(number) - 1 for label, number in enumerate(mapping, start=1)}, void=(0,))
