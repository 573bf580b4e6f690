"""A trained task back from its checkpoint, without its recipe and without a download."""

from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from torch import nn

from refinenet_pl.data.classes import Classes
from refinenet_pl.tasks.segmentation import SegmentationTask


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names it and says why."""


def load_for_prediction(path: Path) -> tuple[SegmentationTask, Classes]:
    """Load a task and the classes it was trained on.

    Args:
        path: A checkpoint written by `python -m refinenet_pl fit`.

    Returns:
        The task in evaluation mode, and the data set's classes.

    Raises:
        CheckpointError: There is no such file, it is damaged, or it is no checkpoint of this package.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # KeyError, UnicodeDecodeError, ...: torch lets through whatever the file's bytes lead to
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({error})") from error
    missing = {"data_classes", "network", "hyper_parameters", "state_dict"}.difference(
        checkpoint if isinstance(checkpoint, dict) else ()
    )
    if missing:
        raise CheckpointError(f"{path}: holds no {', '.join(sorted(missing))}; was it written by this package's fit?")
    arguments = {k: v for k, v in checkpoint["hyper_parameters"].items() if not k.startswith("_") and k != "network"}
    task = SegmentationTask(build_network(checkpoint["network"]), **arguments)
    task.load_state_dict(checkpoint["state_dict"])
    classes = checkpoint["data_classes"]
    palette = tuple(tuple(colour) for colour in classes["palette"])
    return task.eval(), Classes(tuple(classes["names"]), palette, classes["ignore_index"])


def build_network(description: dict) -> nn.Module:
    """Build a network from its class path and arguments, with random weights."""
    arguments = dict(description["init_args"])
    if "encoder_weights" in arguments:
        arguments["encoder_weights"] = None  # the checkpoint holds them; others need not be loaded, let alone downloaded
    parser = ArgumentParser()
    parser.add_argument("--network", type=nn.Module)
    parsed = parser.parse_object({"network": {"class_path": description["class_path"], "init_args": arguments}})
    return parser.instantiate(parsed).network
