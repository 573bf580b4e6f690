"""Base classes of all datasets: split sizes, origin, and samples with a class or with values per pixel."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import DataError
from refinenet_pl.files import expand_path


class DenseDataset(Dataset, ABC):
    """One split of a dataset with a label or a target for each pixel.

    A subclass states its facts in class attributes and reads one sample in `read`; the base classes do the rest.

    Attributes:
        title: Display name.
        split_sizes: Published number of samples of each split with public labels; None if it differs between copies.
        unlabeled_sizes: Published number of samples of each split whose labels only an evaluation server has.
        source: Origin of the data and instructions to unpack them.
        license: License of the data, in a few words.
        short_edge: Min and max short edge, in pixels, to which the authors' test code resizes images.
        image_format: Format of the images; None for 8-bit RGB. Set by each instance if the copy on disk defines it.
        split: Name of the split.
        root: The folder, with `~` and environment variables expanded; None for a dataset without files.
        left_out: Description of the files that were found next to the split's and ignored; empty if there are none.

    Raises:
        DataError: The split does not exist or has no public labels, `root` names an environment variable that is not set, or
            (raised by the subclass) the data on disk are not as expected.
    """

    title: ClassVar[str]
    split_sizes: ClassVar[Mapping[str, int | None]]
    unlabeled_sizes: ClassVar[Mapping[str, int]] = {}
    source: ClassVar[str]
    license: ClassVar[str]
    short_edge: ClassVar[tuple[int, int]] = (450, 800)
    image_format: ImageFormat | None = None
    left_out: str = ""

    def __init__(self, root: str | Path | None, split: str):
        if split in self.unlabeled_sizes:
            raise DataError(
                f"the labels of {type(self).__name__}'s split {split!r} are not public; evaluate on another split, or write "
                "predictions for the evaluation server (predict --submission)"
            )
        if split not in self.split_sizes:
            raise DataError(f"{type(self).__name__} has no split {split!r}; choose one of {', '.join(self.split_sizes)}")
        self.root = None if root is None else expand_path(root, DataError)
        self.split = split

    @classmethod
    def image_format_of(cls, root: str | Path | None) -> ImageFormat | None:
        """Format of the images of the copy at `root`; `cls.image_format` unless a subclass reads it from there."""
        return cls.image_format

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """Name of a sample: unique in the split, usable as a file name."""


class SegmentationDataset(DenseDataset):
    """One split of a dataset with a class for each pixel.

    Attributes:
        classes: Names, palette and void id. Set by each instance if the copy on disk defines them.
        void_channel: Position of the void output of the authors' network (`protocol: paper`), before or after the classes;
            None if there is none.
        class_weights: Weight of each class in the loss, for recipes with `model.class_weights: dataset`; None for equal ones.
    """

    classes: Classes
    void_channel: ClassVar[Literal["first", "last"] | None] = "last"
    class_weights: ClassVar[tuple[float, ...] | None] = None

    @classmethod
    def classes_of(cls, root: str | Path | None) -> Classes:
        """Classes of the copy at `root`; `cls.classes` unless a subclass reads them from there."""
        return cls.classes

    @abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one sample.

        Returns:
            The image, uint8 (height, width, 3), RGB, or float32 (height, width, channels) of `image_format`, see
            `ImageFormat.convert`; and its mask, uint8 or int64 (height, width), of class ids and `classes.ignore_index`.

        Raises:
            DataError: A file is missing, damaged or contains a label outside the classes; the message names the file.
        """

    def __getitem__(self, index: int) -> dict:
        """One sample as tensors.

        Returns:
            `image`: tv_tensors.Image, uint8 (3, height, width), or float32 (channels, height, width) of `image_format`;
            `mask`: int64 tv_tensors.Mask (height, width); `name`: str.
        """
        image, mask = self.read(index)
        return {
            "image": tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)),
            "mask": tv_tensors.Mask(torch.from_numpy(mask.astype(np.int64))),
            "name": self.name(index),
        }


class ValueDataset(DenseDataset):
    """One split of a dataset with continuous values for each pixel.

    Attributes:
        values: Names, unit and meaning of the values. Set by each instance if the copy on disk defines them.
    """

    values: Values

    @classmethod
    def values_of(cls, root: str | Path | None) -> Values:
        """Values of the copy at `root`; `cls.values` unless a subclass reads them from there."""
        return cls.values

    @abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one sample.

        Returns:
            The image, uint8 (height, width, 3), RGB, or float32 (height, width, channels) of `image_format`, see
            `ImageFormat.convert`; and its target, float32 (height, width, channels), NaN where unknown.

        Raises:
            DataError: A file is missing, damaged or has values that cannot be right; the message names the file.
        """

    def __getitem__(self, index: int) -> dict:
        """One sample as tensors.

        Returns:
            `image`: tv_tensors.Image, uint8 (3, height, width), or float32 (channels, height, width) of `image_format`;
            `target`: float32 tv_tensors.Mask (channels, height, width), NaN where unknown; `name`: str.
        """
        image, target = self.read(index)
        return {
            "image": tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)),
            "target": tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(target, np.float32)).permute(2, 0, 1)),
            "name": self.name(index),
        }
