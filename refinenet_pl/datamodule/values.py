"""Data module of datasets with continuous values per pixel."""

from collections.abc import Sequence

from torchvision.transforms import v2

from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.datamodule.value_transforms import value_transform
from refinenet_pl.datasets.base import ValueDataset
from refinenet_pl.datasets.registry import find_value_dataset
from refinenet_pl.datasets.values import Values


class ValueDataModule(DenseDataModule):
    """Batches of a dataset of continuous values, see `DenseDataModule` for the arguments.

    A batch is a dict of `image`, uint8 (N, 3, H, W), or float32 (N, C, H, W) of another `image_format`, `target`, float32
    (N, channels, H, W), NaN where unknown, and `name`, a list of str.

    Attributes:
        values: Values of the dataset.
    """

    values: Values

    def open_dataset(self, name: str, root: str | None) -> type[ValueDataset]:
        """Find the dataset and read the meaning of its values."""
        dataset = find_value_dataset(name)
        self.values = dataset.values_of(root)
        return dataset

    @property
    def meaning(self) -> Values:
        """The values."""
        return self.values

    def training_transform(
        self,
        crop_size: tuple[int, int],
        scales: Sequence[float],
        flip: bool,
        color_jitter: float,
        short_edge: tuple[int, int] | None,
    ) -> v2.Transform:
        """Build the augmentation."""
        return value_transform(crop_size, scales, flip, color_jitter, self.values, short_edge)
