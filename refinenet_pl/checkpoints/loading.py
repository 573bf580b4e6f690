"""Loading of a trained task from its checkpoint, without its recipe and without a download."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import nn

from refinenet_pl.checkpoints.model_directory import CLASSES_FILE, read_model_directory
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.errors import CatalogError, CheckpointError
from refinenet_pl.files import expand_path
from refinenet_pl.moved import MOVED
from refinenet_pl.state_dicts import describe_mismatch, describe_nonfinite, is_mismatch
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.tasks.task_class import TASK, import_task


def load_for_prediction(path: Path, compile: bool | None = None) -> tuple[SegmentationTask, Classes]:
    """Load a task and the classes it was trained on.

    Args:
        path: A checkpoint written by `refinenet fit`, or a model directory.
        compile: See `SegmentationTask`; None for the run's own setting.

    Returns:
        The task in evaluation mode, and the dataset's classes.

    Raises:
        CheckpointError: The file does not exist, is damaged, is not a checkpoint of this package, or its training diverged.
    """
    arguments: dict[str, Any]
    path = expand_path(path, CheckpointError)
    if path.is_dir():
        network, classes = read_model_directory(path)
        arguments = {"void_channel": network.void_channel, "compile": bool(compile)}
        return SegmentationTask(network, len(classes), classes.ignore_index, **arguments).eval(), classes
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # KeyError, UnicodeDecodeError, ...: torch raises almost any error on damaged bytes
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({type(error).__name__}: {error})") from error
    missing = {"data_classes", "network", "hyper_parameters", "state_dict"}.difference(
        checkpoint if isinstance(checkpoint, dict) else ()
    )
    if missing:
        raise CheckpointError(
            f"{path}: has no {', '.join(sorted(missing))}, so it was not written by this package's fit; import a published "
            "checkpoint first (refinenet import)"
        )
    arguments = own_arguments(checkpoint["hyper_parameters"]) | ({} if compile is None else {"compile": compile})
    if problem := describe_nonfinite(checkpoint["state_dict"]):
        raise CheckpointError(f"{path}: {problem}")
    try:
        task = import_task(checkpoint.get("task", TASK))(build_network(checkpoint["network"]), **arguments)
    except CatalogError as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        if not is_mismatch(error):
            raise
        raise CheckpointError(
            f"{path}: its tensors do not fit the network that it describes: {describe_mismatch(error)}"
        ) from None
    return task.eval(), Classes.from_dict(checkpoint["data_classes"])


def with_model_directory(task: SegmentationTask, path: Path, dataset: Classes) -> SegmentationTask:
    """Build a task with the network of a model directory and the arguments of another task.

    Args:
        task: The other task.
        path: The directory.
        dataset: Classes of the dataset to evaluate on, matched by the task's `match_classes`.

    Raises:
        CheckpointError: The directory has no model, or a model for other classes.
    """
    network, classes = read_model_directory(path)
    own = classes if (path / CLASSES_FILE).exists() else None
    if len(classes) != len(dataset):
        raise CheckpointError(f"{path}: has {len(classes)} classes, but the dataset has {len(dataset)}")
    arguments = own_arguments(task.hparams) | {"void_channel": network.void_channel, "match_classes": task.match_classes}
    evaluated = type(task)(network, **arguments).eval()
    evaluated.match(own, dataset, str(path))
    return evaluated


def own_arguments(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Select a task's arguments, without the network, from its saved hyperparameters."""
    return {name: value for name, value in hyper_parameters.items() if not name.startswith("_") and name != "network"}


def build_network(description: dict[str, Any]) -> nn.Module:
    """Build a network from its `class_path` and `init_args`, with random weights."""
    path, arguments = description["class_path"], dict(description["init_args"])
    if "encoder_weights" in arguments:
        arguments["encoder_weights"] = None  # they are in the checkpoint, so none have to be loaded or downloaded
    parser = ArgumentParser()
    parser.add_argument("--network", type=nn.Module)
    parsed = parser.parse_object({"network": {"class_path": MOVED.get(path, path), "init_args": arguments}})
    return parser.instantiate(parsed).network
