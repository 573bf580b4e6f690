"""NYU Depth v2: 1,449 images of rooms, 640x480, 40 classes."""

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
"""The 40 classes, in the order and spelling of classMapping40.mat."""

RAW_LABELS = 894
"""Number of labels that classMapping40.mat maps to the 40 classes; 0 means unlabeled."""

Crop = Literal["border", "valid"] | None
"""Part of each 640x480 image to keep, see `NYUDv2`."""

_SIZE = (480, 640)
_CROPS = {"border": np.s_[6:474, 7:632], "valid": np.s_[44:471, 40:601]}
_VARIABLES = {"train": "trainNdxs", "test": "testNdxs"}


class NYUDv2(PairedDataset):
    """The labeled part of the NYU Depth dataset, version 2; `nyud_depth.NYUDv2Depth` has its depths.

    `root` contains `nyu_depth_v2_labeled.mat`, `splits.mat` and `classMapping40.mat`. Images and masks are converted to PNGs
    when a split is first opened. Sample names are their numbers in the file, from 0001.

    Evaluation: unlabeled pixels are ignored, one confusion matrix over the 654 test images, mean IoU over 40 classes.

    Args:
        root: The folder.
        split: `train` or `test`.
        crop: Part of each 640x480 image and mask to keep; None keeps everything.
            `border` (625x468) removes the white border, as in the images of RefineNet's authors and of its PyTorch port.
            `valid` (561x427) is the region with a valid depth projection, as recommended by the dataset's toolbox.
        cache: Folder for the PNGs, about 1 GB; None for `refinenet_pl_cache` in `root`.
        crop_border: Former name of `crop`; raises an error that names the replacement.

    Raises:
        DataError: In addition, `crop` is unknown or `crop_border` is given.
    """

    title = "NYUDv2"
    classes = Classes(names=NYU_CLASSES, palette=VOC_PALETTE[1:41])
    split_sizes = {"train": 795, "test": 654}
    values = LabelValues.plain(40)
    source = (
        "nyu_depth_v2_labeled.mat (2.8 GB) from https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html, and in the same folder "
        "splits.mat and classMapping40.mat, for example from https://github.com/VainF/nyuv2-python-toolkit"
    )
    license = "not stated; the authors ask for citation"

    def __init__(
        self,
        root: str | Path | None,
        split: str,
        crop: Crop = None,
        cache: str | None = None,
        crop_border: bool | None = None,
    ):
        if crop_border is not None:
            raise DataError(
                "NYUDv2: the option crop_border is now named crop; write crop: border (625x468, as the images of RefineNet's "
                "authors), crop: valid (561x427, as crop_border: true) or nothing (640x480, as crop_border: false)"
            )
        self.crop = checked_crop(crop)
        self.cache = cache
        super().__init__(root, split)

    def find_samples(self) -> list[Sample]:
        """Read the numbers of the split's samples, and convert those that are not in the cache yet."""
        labeled, mapping = self.root / "nyu_depth_v2_labeled.mat", self.root / "classMapping40.mat"
        numbers = read_numbers(self.root / "splits.mat", self.split, _count(labeled))
        values = _read_mapping(mapping)
        folder = cache_folder(self.root, self.cache, "nyudv2")
        samples = [
            Sample(f"{number:04}", folder / "images" / f"{number:04}.png", folder / "masks" / f"{number:04}.png")
            for number in numbers
        ]
        numbered = list(zip(numbers, samples, strict=True))
        images = [Conversion(sample.image, (labeled,), (number,)) for number, sample in numbered]
        masks = [Conversion(sample.mask, (labeled, mapping), (number, values)) for number, sample in numbered]
        convert(images, read_image, f"{self.title} {self.split} images")
        convert(masks, _read_labels, f"{self.title} {self.split} masks")
        return samples

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the files of a sample and crop them."""
        image, mask = super().read(index)
        kept = part_of(mask.shape, self.crop, self.samples[index].image)
        return image[kept], mask[kept]


def checked_crop(crop: Crop) -> Crop:
    """Return the crop; a DataError if there is no such crop."""
    if crop not in (None, *_CROPS):
        raise DataError(f"NYUDv2 has no crop {crop!r}; choose {' or '.join(_CROPS)}, or null to keep everything")
    return crop


def part_of(shape: tuple[int, ...], crop: Crop, file: Path) -> tuple[slice, ...]:
    """Rows and columns that a crop keeps.

    Args:
        shape: Height and width of the image.
        crop: The crop.
        file: Image to name in errors.

    Raises:
        DataError: The crop is for images of another size.
    """
    if crop is None:
        return ()
    if shape != _SIZE:
        raise DataError(f"{file}: crop: {crop} is for images of 640x480, but this one is {shape[1]}x{shape[0]}; omit crop")
    return _CROPS[crop]


def read_image(file: Path, number: int) -> np.ndarray:
    """uint8 (height, width, 3)."""
    with open_hdf5(file) as content:
        return content["images"][number - 1].transpose(2, 1, 0)


def _read_labels(file: Path, number: int, values: LabelValues) -> np.ndarray:
    """Class ids, uint8 (height, width)."""
    with open_hdf5(file) as content:
        labels = content["labels"][number - 1].T
    return values.encode(labels, f"{file}: labels(:, :, {number})")


def _count(file: Path) -> int:
    """Number of images in the file.

    Raises:
        DataError: The images or labels have an unexpected shape or dtype.
    """
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
                f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}; is this the official file? Copy it again"
            )
    return count


def read_numbers(file: Path, split: str, count: int) -> list[int]:
    """Numbers of a split's samples, counted from 1.

    Args:
        file: splits.mat.
        split: `train` or `test`.
        count: Number of images in nyu_depth_v2_labeled.mat.

    Raises:
        DataError: The file is missing, or the numbers are not those of images.
    """
    variable = _VARIABLES[split]
    numbers = np.atleast_1d(read_mat(file, variable)[variable])
    if numbers.ndim != 1 or not np.isin(numbers, np.arange(1, count + 1)).all() or len(set(numbers.tolist())) < len(numbers):
        raise DataError(
            f"{file}: {variable} must contain distinct numbers in 1..{count}, those of the images in nyu_depth_v2_labeled.mat; "
            "is this the official file? Copy both again"
        )
    return [int(number) for number in numbers]


def _read_mapping(file: Path) -> LabelValues:
    mapping = read_mat(file, "mapClass")["mapClass"]
    if np.shape(mapping) != (RAW_LABELS,) or not np.isin(mapping, np.arange(1, 41)).all():
        raise DataError(
            f"{file}: mapClass must contain {RAW_LABELS} numbers in 1..40; is this the official file? Copy it again"
        )
    return LabelValues({label: int(number) - 1 for label, number in enumerate(mapping, start=1)}, void=(0,))
