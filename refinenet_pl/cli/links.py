"""Links from the options of a run's dataset to those of its model, for each kind of task."""

import sys

from lightning import LightningModule
from lightning.pytorch.cli import LightningArgumentParser

from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datamodule.values import ValueDataModule
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.registry import find_dataset, find_value_dataset
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import DataError
from refinenet_pl.tasks.class_matching import MatchClasses
from refinenet_pl.tasks.regression import RegressionTask


def data_module_class(task: type[LightningModule]) -> type[DenseDataModule]:
    """Class of the data module for a task."""
    return ValueDataModule if issubclass(task, RegressionTask) else SegmentationDataModule


def add_links(parser: LightningArgumentParser, task: type[LightningModule]) -> None:
    """Link the meaning of a dataset's labels or values to the model, so that no option has to repeat it."""
    (_link_values if issubclass(task, RegressionTask) else _link_classes)(parser)


def meaning_of(task: type[LightningModule], dataset: str, root: str | None) -> Classes | Values:
    """Classes or values of a dataset; exits with a message if its files cannot be read."""
    return _values(dataset, root) if issubclass(task, RegressionTask) else _classes(dataset, root)


def _link_values(parser: LightningArgumentParser) -> None:
    data = ("data.dataset", "data.root")
    parser.link_arguments(data, "model.values", compute_fn=lambda name, root: _values(name, root).to_dict())
    parser.link_arguments(data, "model.network.init_args.classes", compute_fn=lambda name, root: len(_values(name, root)))


def _link_classes(parser: LightningArgumentParser) -> None:
    text = (
        "Matching of a checkpoint's classes with the dataset's in validate and test: exact (equal names, order and ignored "
        "id), name (in any order), or position (by channel number only)"
    )
    parser.add_argument("--match_classes", type=MatchClasses, default="exact", help=text)
    parser.link_arguments("match_classes", "model.match_classes")
    data, outputs = ("data.dataset", "data.root"), ("data.dataset", "data.root", "model.protocol", "model.void_output")
    parser.link_arguments(data, "model.classes", compute_fn=lambda name, root: len(_classes(name, root)))
    parser.link_arguments(data, "model.ignore_index", compute_fn=lambda name, root: _classes(name, root).ignore_index)
    parser.link_arguments(outputs, "model.network.init_args.classes", compute_fn=_channels)
    parser.link_arguments(outputs, "model.void_channel", compute_fn=_void_channel)
    parser.link_arguments("data.dataset", "model.short_edge", compute_fn=lambda name: find_dataset(name).short_edge)


def _classes(dataset: str, root: str | None) -> Classes:
    try:
        return find_dataset(dataset).classes_of(root)
    except DataError as error:  # exit here, because the parser would print its usage before the message
        sys.exit(f"error: {error}")


def _values(dataset: str, root: str | None) -> Values:
    try:
        return find_value_dataset(dataset).values_of(root)
    except DataError as error:
        sys.exit(f"error: {error}")


def _void_channel(dataset: str, root: str | None, protocol: str, void_output: bool | None) -> str | None:
    has_void = protocol == "paper" if void_output is None else void_output
    return find_dataset(dataset).void_channel if has_void else None


def _channels(dataset: str, root: str | None, protocol: str, void_output: bool | None) -> int:
    return len(_classes(dataset, root)) + (_void_channel(dataset, root, protocol, void_output) is not None)
