"""Task classes by import path: `SegmentationTask` or a subclass."""

import importlib

from refinenet_pl.errors import CatalogError
from refinenet_pl.tasks.segmentation import SegmentationTask

TASK = "refinenet_pl.SegmentationTask"


def import_task(name: str) -> type[SegmentationTask]:
    """Import `SegmentationTask` or a subclass.

    Args:
        name: Import path of the class.

    Raises:
        CatalogError: The path cannot be imported or is not such a class.
    """
    module, _, attribute = name.rpartition(".")
    try:
        task = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CatalogError(f"task {name!r}: cannot be imported ({error}); use the import path of a class") from error
    if not (isinstance(task, type) and issubclass(task, SegmentationTask)):
        raise CatalogError(f"task {name!r}: is not a subclass of refinenet_pl.SegmentationTask")
    return task
