"""NYU Depth v2: depths of the 1,449 labeled images."""

from pathlib import Path

import numpy as np

from refinenet_pl.datasets.base import ValueDataset
from refinenet_pl.datasets.cache import Conversion, cache_folder, convert
from refinenet_pl.datasets.file_pairs import Sample, locate
from refinenet_pl.datasets.nyud import Crop, NYUDv2, checked_crop, part_of, read_image, read_numbers
from refinenet_pl.datasets.readers.io import read_pair
from refinenet_pl.datasets.readers.matlab import open_hdf5
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import DataError


class NYUDv2Depth(ValueDataset):
    """Depths of the labeled part of the NYU Depth dataset, version 2, with missing depths filled in by its authors.

    `root` contains `nyu_depth_v2_labeled.mat` and `splits.mat`. Images are converted to PNGs and depths to NumPy files when a
    split is first opened. Sample names are their numbers in the file, from 0001.

    Args:
        root: The folder.
        split: `train` or `test`.
        crop: See `NYUDv2`.
        cache: Folder for the converted files, about 2.5 GB; None for `refinenet_pl_cache` in `root`.

    Raises:
        DataError: A file is missing or not the official one, or `crop` is unknown.
    """

    title = "NYUDv2, depth"
    values = Values(("depth",), "depth", "m", (0.1, 10.0))
    split_sizes = NYUDv2.split_sizes
    source = (
        "nyu_depth_v2_labeled.mat (2.8 GB) from https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html, and in the same folder "
        "splits.mat, for example from https://github.com/VainF/nyuv2-python-toolkit"
    )
    license = NYUDv2.license

    def __init__(self, root: str | Path | None, split: str, crop: Crop = None, cache: str | None = None):
        super().__init__(root, split)
        self.crop = checked_crop(crop)
        if self.root is None or not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; {self.source}")
        labeled = self.root / "nyu_depth_v2_labeled.mat"
        numbers = read_numbers(self.root / "splits.mat", split, _count(labeled))
        folder = cache_folder(self.root, cache, "nyudv2")
        samples = [
            Sample(f"{number:04}", folder / "images" / f"{number:04}.png", folder / "depths" / f"{number:04}.npy")
            for number in numbers
        ]
        numbered = list(zip(numbers, samples, strict=True))
        images = [Conversion(sample.image, (labeled,), (number,)) for number, sample in numbered]
        depths = [Conversion(sample.mask, (labeled,), (number,)) for number, sample in numbered]
        convert(images, read_image, f"{self.title} {split} images")
        convert(depths, _read_depth, f"{self.title} {split} depths")
        self.samples = locate(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, index: int) -> str:
        """Number of a sample in the file."""
        return self.samples[index].name

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a sample and crop it. Depths of 0 are unknown."""
        sample = self.samples[index]
        depth = np.load(sample.mask, allow_pickle=False)
        kept = part_of(depth.shape, self.crop, sample.image)
        image = read_pair(sample.image, depth, sample.mask, strict=False)
        target = np.where(depth > 0, depth, np.nan)[..., None]
        outside = self.values.outside(target)
        if outside.any():
            raise DataError(
                f"{sample.mask}: {int(outside.sum())} depths are outside the sensor's range {self.values.range} m, such as "
                f"{target[outside][0]:g}; is nyu_depth_v2_labeled.mat the official file? Copy it again"
            )
        return image[kept], target[kept]


def _read_depth(file: Path, number: int) -> np.ndarray:
    """Depth in meters, float32 (height, width)."""
    with open_hdf5(file) as content:
        return content["depths"][number - 1].T.astype(np.float32)


def _count(file: Path) -> int:
    """Number of images in the file.

    Raises:
        DataError: The images or depths have an unexpected shape or dtype.
    """
    with open_hdf5(file) as content:
        images, depths = content["images"], content["depths"]
        count, *rest = images.shape
        if len(rest) != 3 or images.dtype != np.uint8 or depths.dtype.kind != "f" or depths.shape != (count, *rest[1:]):
            raise DataError(
                f"{file}: expected uint8 images (N, 3, width, height) and floating-point depths (N, width, height), found "
                f"{images.dtype} {images.shape} and {depths.dtype} {depths.shape}; is this the official file? Copy it again"
            )
    return count
