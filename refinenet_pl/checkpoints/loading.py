"""Loading of a trained task from its checkpoint, without its recipe and without a download."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError

from refinenet_pl.checkpoints.image_format import read_image_format
from refinenet_pl.checkpoints.model_directory import read_meaning, read_model_directory
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.meaning_files import CLASSES_FILE, VALUES_FILE, meaning_files
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CatalogError, CheckpointError
from refinenet_pl.files import expand_path
from refinenet_pl.state_dicts import describe_mismatch, describe_nonfinite, is_mismatch
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.rebuilding import build_network
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.tasks.task_class import TASK, import_task


def load_for_prediction(path: Path, compile: bool | None = None) -> tuple[DenseTask, Classes | Values]:
    """Load a task and the meaning of its channels.

    Args:
        path: A checkpoint written by `refinenet fit`, or a model directory.
        compile: See `SegmentationTask`; None for the run's own setting.

    Returns:
        The task in evaluation mode, and the dataset's classes or values: a `SegmentationTask` with `Classes`, or a
        `RegressionTask` with `Values`.

    Raises:
        CheckpointError: The file does not exist, is damaged, is not a checkpoint of this package, or its training diverged.
    """
    path = expand_path(path, CheckpointError)
    if path.is_dir():
        network, meaning, activation = read_model_directory(path)
        if isinstance(meaning, Values):
            return RegressionTask(network, meaning, activation=activation, compile=bool(compile)).eval(), meaning
        arguments: dict[str, Any] = {"void_channel": network.void_channel, "compile": bool(compile)}
        return SegmentationTask(network, len(meaning), meaning.ignore_index, **arguments).eval(), meaning
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # KeyError, UnicodeDecodeError, ...: torch raises almost any error on damaged bytes
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({type(error).__name__}: {error})") from error
    meaning = _meaning(checkpoint, path)
    arguments = own_arguments(checkpoint["hyper_parameters"]) | ({} if compile is None else {"compile": compile})
    if problem := describe_nonfinite(checkpoint["state_dict"]):
        raise CheckpointError(f"{path}: {problem}")
    try:
        task_class = import_task(checkpoint.get("task", TASK))
    except CatalogError as error:
        raise CheckpointError(f"{path}: {error}") from error
    base, content = (SegmentationTask, "classes") if isinstance(meaning, Classes) else (RegressionTask, "values")
    if not issubclass(task_class, base):
        raise CheckpointError(f"{path}: predicts {content}, but its task {task_class.__name__} is no {base.__name__}")
    try:
        task = task_class(build_network(checkpoint["network"]), **arguments)
    except (ArgumentError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its task cannot be built ({type(error).__name__}: {error})") from error
    try:
        # A loss module may have tensors. It is not saved, so the task has the default loss instead; predictions need neither.
        own, losses = task.state_dict(), ("training_loss.", "criterion.")
        state = {name: t for name, t in checkpoint["state_dict"].items() if name in own or not name.startswith(losses)}
        task.load_state_dict(state)
    except RuntimeError as error:
        if not is_mismatch(error):
            raise
        raise CheckpointError(
            f"{path}: its tensors do not fit the network that it describes: {describe_mismatch(error)}"
        ) from None
    task.describe_network(meaning_files(meaning, task.hparams.get("activation"), read_image_format(path)))
    return task.eval(), meaning


def peek_meaning(path: Path) -> Classes | Values | None:
    """Read the meaning of a network's channels without loading the network.

    Args:
        path: See `load_for_prediction`.

    Returns:
        The classes or values; None if the directory does not name them, or if `load_for_prediction` raises an error.
    """
    try:
        path = expand_path(path, CheckpointError)
        if path.is_dir():
            found = read_meaning(path)
            return None if found is None else found[0]
        return _meaning(torch.load(path, map_location="cpu", weights_only=True, mmap=True), path)
    except Exception:  # torch raises almost any error on damaged bytes
        return None


def with_model_directory(task: DenseTask, path: Path, dataset: Classes | Values) -> DenseTask:
    """Build a task with the network of a model directory and the arguments of another task.

    Args:
        task: The other task, a `SegmentationTask` or a `RegressionTask`.
        path: The directory.
        dataset: Meaning of the dataset to evaluate on. Classes are matched by the task's `match_classes`; the names, kind and
            unit of values must be equal.

    Raises:
        CheckpointError: The directory has no model, or a model for other classes, values or numbers of channels.
    """
    network, meaning, activation = read_model_directory(path)
    channels = len(task.dense_network.normalization.mean)
    if network.config["in_channels"] != channels:
        raise CheckpointError(
            f"{path}: is for images with {network.config['in_channels']} channels, but those of the dataset have {channels}; "
            "use a model for such images"
        )
    arguments = own_arguments(task.hparams)
    if isinstance(task, RegressionTask) and isinstance(dataset, Values):
        if not isinstance(meaning, Values):
            raise CheckpointError(f"{path}: has no {VALUES_FILE}, but the task predicts values; use a model for these values")
        evaluated = type(task)(network, **arguments | {"activation": activation}).eval()
        evaluated.match(meaning, dataset, str(path))
        return evaluated
    assert isinstance(task, SegmentationTask) and isinstance(dataset, Classes)
    if not isinstance(meaning, Classes):
        raise CheckpointError(f"{path}: predicts values, but the task predicts classes; use a model for these classes")
    if len(meaning) != len(dataset):
        raise CheckpointError(f"{path}: has {len(meaning)} classes, but the dataset has {len(dataset)}")
    own = meaning if (path / CLASSES_FILE).exists() else None
    arguments |= {"void_channel": network.void_channel, "match_classes": task.match_classes}
    segmentation = type(task)(network, **arguments).eval()
    segmentation.match(own, dataset, str(path))
    return segmentation


def own_arguments(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Select a task's arguments, without the network, from its saved hyperparameters."""
    return {name: value for name, value in hyper_parameters.items() if not name.startswith("_") and name != "network"}


def _meaning(checkpoint: Any, path: Path) -> Classes | Values:
    """Classes or values of a checkpoint's content; raises a CheckpointError if it was not written by `refinenet fit`."""
    content = checkpoint if isinstance(checkpoint, dict) else {}
    arguments = content.get("hyper_parameters")
    values = arguments.get("values") if isinstance(arguments, Mapping) and "data_classes" not in content else None
    missing = {"network", "hyper_parameters", "state_dict"} | (set() if values else {"data_classes"})
    if missing := missing.difference(content):
        raise CheckpointError(
            f"{path}: has no {', '.join(sorted(missing))}, so it was not written by this package's fit; import a published "
            "checkpoint first (refinenet import)"
        )
    try:
        return Values.from_dict(values) if values else Classes.from_dict(content["data_classes"])
    except (LookupError, TypeError, ValueError) as error:
        described = "values" if values else "classes"
        raise CheckpointError(f"{path}: its {described} cannot be read ({type(error).__name__}: {error})") from error
