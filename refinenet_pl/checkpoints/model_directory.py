"""Model directories: a network in smp's `save_pretrained` format, and its classes."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.errors import CheckpointError
from refinenet_pl.models.refinenet import RefineNet

CLASSES_FILE = "classes.json"


def write_model_directory(directory: Path, network: RefineNet, classes: Classes) -> None:
    """Write a directory that `RefineNet.from_pretrained`, `predict` and `test` accept, as a whole or not at all.

    Raises:
        CheckpointError: The directory exists already, or cannot be written.
    """
    if directory.exists():
        raise CheckpointError(f"{directory}: exists already; use another directory, or remove it")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            network.save_pretrained(str(unfinished))
            (unfinished / CLASSES_FILE).write_text(json.dumps(classes.to_dict(), indent=1), encoding="utf-8")
            # mkdtemp and safetensors create files that other users cannot read.
            unfinished.chmod(0o755)
            for file in unfinished.iterdir():
                file.chmod(0o644)
            os.replace(unfinished, directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be written ({error})") from error


def read_model_directory(directory: Path) -> tuple[RefineNet, Classes]:
    """Read a model directory.

    Returns:
        The network, and its classes, which are numbered if the directory does not name them.

    Raises:
        CheckpointError: The directory has no model, it cannot be read, or its weights do not fit the network in its config.
    """
    try:
        with contextlib.redirect_stdout(None):  # smp prints a line on each load
            network = RefineNet.from_pretrained(str(directory))
        number = network.segmentation_head[-1].out_channels - (network.void_channel is not None)
        file = directory / CLASSES_FILE
        if not file.exists():
            return network, Classes.numbered(number)
        classes = Classes.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except CheckpointError:
        raise
    except Exception as error:  # smp, safetensors and json raise errors of different types
        raise CheckpointError(f"{directory}: cannot be read as a RefineNet ({error}); import or save it again") from error
    if len(classes) != number:
        raise CheckpointError(f"{directory}: {CLASSES_FILE} names {len(classes)} classes, but the network has {number}")
    return network, classes
