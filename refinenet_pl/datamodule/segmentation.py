"""Data module of datasets with a class per pixel."""

from collections.abc import Sequence

from torchvision.transforms import v2

from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.datamodule.transforms import training_transform
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.registry import find_dataset


class SegmentationDataModule(DenseDataModule):
    """Batches of a segmentation dataset, see `DenseDataModule` for the arguments.

    A batch is a dict of `image`, uint8 (N, 3, H, W), or float32 (N, C, H, W) of another `image_format`, `mask`, int64
    (N, H, W), and `name`, a list of str.

    Attributes:
        classes: Classes of the dataset.
    """

    classes: Classes
    validation: SegmentationDataset

    def open_dataset(self, name: str, root: str | None) -> type[SegmentationDataset]:
        """Find the dataset and read its classes."""
        dataset = find_dataset(name)
        self.classes = dataset.classes_of(root)
        return dataset

    @property
    def meaning(self) -> Classes:
        """The classes."""
        return self.classes

    def training_transform(
        self,
        crop_size: tuple[int, int],
        scales: Sequence[float],
        flip: bool,
        color_jitter: float,
        short_edge: tuple[int, int] | None,
    ) -> v2.Transform:
        """Build the augmentation."""
        return training_transform(crop_size, scales, flip, color_jitter, self.classes.ignore_index, short_edge)
