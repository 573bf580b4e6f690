"""Datasets by name."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from refinenet_pl.datasets.base import DenseDataset, SegmentationDataset, ValueDataset
from refinenet_pl.errors import DataError

# Import paths, so that only the selected dataset is imported.
DATASETS: dict[str, str] = {
    "scenes": "refinenet_pl.datasets.scenes.Scenes",
    "camvid": "refinenet_pl.datasets.camvid.CamVid",
    "folder": "refinenet_pl.datasets.folder.Folder",
    "voc2012": "refinenet_pl.datasets.voc.VOC2012",
    "person_part": "refinenet_pl.datasets.person_part.PersonPart",
    "nyudv2": "refinenet_pl.datasets.nyud.NYUDv2",
    "pascal_context": "refinenet_pl.datasets.pascal_context.PascalContext",
    "pascal_context59": "refinenet_pl.datasets.pascal_context.PascalContext59",
    "sunrgbd": "refinenet_pl.datasets.sunrgbd.SUNRGBD",
    "cityscapes": "refinenet_pl.datasets.cityscapes.Cityscapes",
    "ade20k": "refinenet_pl.datasets.ade20k.ADE20K",
}


VALUE_DATASETS: dict[str, str] = {
    "scenes_depth": "refinenet_pl.datasets.scenes_values.ScenesDepth",
    "scenes_keypoints": "refinenet_pl.datasets.scenes_values.ScenesKeypoints",
    "scenes_labels": "refinenet_pl.datasets.scenes_values.ScenesLabels",
    "value_folder": "refinenet_pl.datasets.value_folder.ValueFolder",
    "nyudv2_depth": "refinenet_pl.datasets.nyud_depth.NYUDv2Depth",
}


def find_dataset(name: str) -> type[SegmentationDataset]:
    """Import the class of a segmentation dataset.

    Args:
        name: A key of `DATASETS`, or the import path of a `SegmentationDataset` (`my_package.MyDataset`).

    Raises:
        ValueError: There is no such dataset.
    """
    if name in VALUE_DATASETS:
        raise ValueError(
            f"{name!r} is a dataset of values, but this task is for classes; use task: refinenet_pl.RegressionTask, or one "
            f"of {', '.join(DATASETS)}"
        )
    return _find(name, DATASETS, SegmentationDataset)


def find_value_dataset(name: str) -> type[ValueDataset]:
    """Import the class of a dataset of continuous values.

    Args:
        name: A key of `VALUE_DATASETS`, or the import path of a `ValueDataset`.

    Raises:
        ValueError: There is no such dataset.
    """
    if name in DATASETS:
        raise ValueError(
            f"{name!r} is a dataset of classes, but this task is for values; use task: refinenet_pl.SegmentationTask, or one "
            f"of {', '.join(VALUE_DATASETS)}"
        )
    return _find(name, VALUE_DATASETS, ValueDataset)


def find_any_dataset(name: str) -> type[SegmentationDataset] | type[ValueDataset]:
    """Import the class of a dataset of classes or of continuous values.

    Args:
        name: A key of `DATASETS` or `VALUE_DATASETS`, or the import path of a `SegmentationDataset` or a `ValueDataset`.

    Raises:
        ValueError: There is no such dataset.
    """
    return _find(name, DATASETS | VALUE_DATASETS, DenseDataset)


def _find(name: str, paths: Mapping[str, str], base: type) -> Any:
    module, _, attribute = paths.get(name, name).rpartition(".")
    try:
        dataset = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        if name in paths:  # a package that the dataset needs is missing
            raise
        known = ", ".join(paths)
        raise ValueError(f"unknown dataset {name!r}; choose one of {known}, or give the import path of a class") from None
    if not (isinstance(dataset, type) and issubclass(dataset, base)):
        raise ValueError(f"{name} is not a {base.__name__}")
    return dataset


def require_options(dataset: type[DenseDataset], options: dict[str, Any], place: str) -> None:
    """Raise a DataError unless the dataset accepts these options.

    Args:
        dataset: Class of the dataset.
        options: Its further arguments.
        place: Option or file that contains them, for the message.
    """
    try:
        inspect.signature(dataset).bind(root=None, split="train", **options)
    except TypeError as error:
        raise DataError(f"{place}: {error}") from None
