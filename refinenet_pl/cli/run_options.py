"""Options of a run in addition to Lightning's, and links from those of its dataset to those of its model."""

import sys

from lightning import LightningModule
from lightning.pytorch.cli import LightningArgumentParser

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.registry import find_any_dataset, find_dataset, find_value_dataset
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import DataError
from refinenet_pl.tasks.class_matching import MatchClasses
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.task_class import TASK
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.log_options import LogOptions
from refinenet_pl.tracking.loggers import Track


def add_options(parser: LightningArgumentParser) -> None:
    """Add the options that all tasks have."""
    parser.add_class_arguments(RunId, "run", skip={"seed"}, help="Name of the run; determines its directory")
    parser.add_class_arguments(LogOptions, "log", help="Content of the loggers in addition to scores")
    text = "Logging in addition to results.json: W&B and CSV files, CSV files only, or none"
    parser.add_argument("--track", type=Track, default="wandb", help=text)
    text = (
        "Import path of the task, refinenet_pl.SegmentationTask, refinenet_pl.RegressionTask or a subclass of one, whose "
        "arguments are those of model"
    )
    parser.add_argument("--task", type=str, default=TASK, help=text)
    text = "Import path of the data module, a subclass of the task's, whose arguments are those of data"
    parser.add_argument("--data_module", type=str | None, help=text)
    parser.add_argument("--base", type=str | None, help="Recipe that this recipe changes, by name or file")
    text = (
        "Weights to start from: a checkpoint of fit, a model directory, a published RefineNet checkpoint, or a model's id "
        "on the Hugging Face Hub. The classifier may have other classes"
    )
    parser.add_argument("--init", type=str | None, help=text)
    text = "Use the network that these weights are from, in place of the recipe's; model.network on the command line changes it"
    parser.add_argument("--init_network", type=bool, default=False, help=text)
    text = "Start even if other tensors than the classifier's are missing in the weights or have another shape"
    parser.add_argument("--init_partial", type=bool, default=False, help=text)
    text = "Parts that are not trained: encoder, decoder, or patterns of parameter names, as a list"
    parser.add_argument("--freeze", type=list[str] | None, help=text)
    parser.link_arguments("freeze", "model.freeze")
    parser.link_arguments("seed_everything", "data.seed", compute_fn=_seed)


def add_links(parser: LightningArgumentParser, task: type[LightningModule]) -> None:
    """Link a dataset's labels or values, and its images' channels, to the model, so that no option has to repeat them."""
    (_link_values if issubclass(task, RegressionTask) else _link_classes)(parser)
    parser.link_arguments(("data.dataset", "data.root"), "model.network.init_args.in_channels", compute_fn=_image_channels)


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


def _image_channels(dataset: str, root: str | None) -> int:
    """Number of channels of a dataset's images."""
    try:
        image_format = find_any_dataset(dataset).image_format_of(root)
    except DataError as error:
        sys.exit(f"error: {error}")
    return 3 if image_format is None else image_format.channels


def _void_channel(dataset: str, root: str | None, protocol: str, void_output: bool | None) -> str | None:
    has_void = protocol == "paper" if void_output is None else void_output
    return find_dataset(dataset).void_channel if has_void else None


def _channels(dataset: str, root: str | None, protocol: str, void_output: bool | None) -> int:
    return len(_classes(dataset, root)) + (_void_channel(dataset, root, protocol, void_output) is not None)


def _seed(given: bool | int) -> int:
    if isinstance(given, bool):
        sys.exit(f"error: seed_everything is {given}; set a number, which names the run")
    if not 0 <= given < 2**32:
        sys.exit(f"error: seed_everything is {given}; set a number from 0 to {2**32 - 1}")
    return given
