"""Tasks by import path: `SegmentationTask`, or a subclass of one's own."""

import importlib

from refinenet_pl.errors import CatalogError
from refinenet_pl.tasks.segmentation import SegmentationTask

TASK = "refinenet_pl.SegmentationTask"


def import_task(name: str) -> type[SegmentationTask]:
    """Import a subclass of `SegmentationTask`.

    Raises:
        CatalogError: It is no import path of one.
    """
    module, _, attribute = name.rpartition(".")
    try:
        task = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CatalogError(f"task {name!r}: cannot be imported ({error}); give the import path of a class") from error
    if not (isinstance(task, type) and issubclass(task, SegmentationTask)):
        raise CatalogError(f"task {name!r}: is no subclass of refinenet_pl.SegmentationTask")
    return task
