"""Datasets by name."""

import importlib
import inspect
from typing import Any

from refinenet_pl.datasets.base import SegmentationDataset
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


def find_dataset(name: str) -> type[SegmentationDataset]:
    """Import a dataset class.

    Args:
        name: A key of `DATASETS`, or the import path of a `SegmentationDataset` (`my_package.MyDataset`).

    Raises:
        ValueError: There is no such dataset.
    """
    module, _, attribute = DATASETS.get(name, name).rpartition(".")
    try:
        dataset = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        if name in DATASETS:  # a package that the dataset needs is missing
            raise
        known = ", ".join(DATASETS)
        raise ValueError(f"unknown dataset {name!r}; choose one of {known}, or give the import path of a class") from None
    if not (isinstance(dataset, type) and issubclass(dataset, SegmentationDataset)):
        raise ValueError(f"{name} is not a SegmentationDataset")
    return dataset


def require_options(name: str, options: dict[str, Any], place: str) -> None:
    """Raise a DataError unless the dataset accepts these options.

    Args:
        name: As for `find_dataset`.
        options: Further arguments of the dataset's class.
        place: Option or file that contains them, for the message.
    """
    try:
        inspect.signature(find_dataset(name)).bind(root=None, split="train", **options)
    except TypeError as error:
        raise DataError(f"{place}: {name}: {error}") from None
