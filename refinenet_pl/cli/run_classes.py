"""Classes of a run by import path: its task and its data module."""

from typing import Any

from refinenet_pl.cli.early_options import chosen
from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datamodule.values import ValueDataModule
from refinenet_pl.errors import CatalogError
from refinenet_pl.imports import import_class
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.task_class import TASK, import_task


def run_classes(arguments: list[str]) -> tuple[type[DenseTask], type[DenseDataModule]]:
    """Task and data module of a run: those of its options `task` and `data_module`, or the built-in ones.

    Args:
        arguments: A command and its options, from `refinenet_pl.cli.recipes.expand`.

    Raises:
        CatalogError: An import path is wrong, or the data module is not one for the task.
    """
    task = import_task(chosen(arguments, "task") or TASK)
    base: type[DenseDataModule] = ValueDataModule if issubclass(task, RegressionTask) else SegmentationDataModule
    name = chosen(arguments, "data_module")
    if name is None:
        return task, base
    found: Any = import_class(name, "data_module")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise CatalogError(f"data_module {name!r}: is not a subclass of refinenet_pl.{base.__name__}, as the task requires")
    return task, found
