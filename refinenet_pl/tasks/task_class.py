"""Task classes by import path: `SegmentationTask`, `RegressionTask` or a subclass."""

from refinenet_pl.errors import CatalogError
from refinenet_pl.imports import import_class
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask

TASK = "refinenet_pl.SegmentationTask"


def import_task(name: str) -> type[DenseTask]:
    """Import `SegmentationTask`, `RegressionTask` or a subclass.

    Args:
        name: Import path of the class.

    Raises:
        CatalogError: The path cannot be imported or is not such a class.
    """
    task = import_class(name, "task")
    if not (isinstance(task, type) and issubclass(task, (SegmentationTask, RegressionTask))):
        raise CatalogError(f"task {name!r}: is not a subclass of refinenet_pl.SegmentationTask or refinenet_pl.RegressionTask")
    return task
