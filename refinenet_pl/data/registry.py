"""The data sets by name."""

import importlib

from refinenet_pl.data.camvid import CamVid
from refinenet_pl.data.dataset import SegmentationDataset
from refinenet_pl.data.scenes import Scenes

DATASETS: dict[str, type[SegmentationDataset]] = {"scenes": Scenes, "camvid": CamVid}


def find_dataset(name: str) -> type[SegmentationDataset]:
    """The data set of that name.

    Args:
        name: A key of `DATASETS`, or the import path of a `SegmentationDataset` of your own (`my_package.MyDataset`).

    Raises:
        ValueError: There is no such data set.
    """
    if name in DATASETS:
        return DATASETS[name]
    module, _, attribute = name.rpartition(".")
    try:
        dataset = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        known = ", ".join(DATASETS)
        raise ValueError(f"no data set is called {name!r}; choose one of {known}, or give the import path of a class") from None
    if not (isinstance(dataset, type) and issubclass(dataset, SegmentationDataset)):
        raise ValueError(f"{name} is not a SegmentationDataset")
    return dataset
