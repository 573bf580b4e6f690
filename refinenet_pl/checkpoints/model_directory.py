"""Model directories: a network in smp's `save_pretrained` format, and the meaning of its channels."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.meaning_files import CLASSES_FILE, VALUES_FILE, meaning_files
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError
from refinenet_pl.evaluation.value_inference import Activation
from refinenet_pl.models.refinenet import RefineNet


class Model(NamedTuple):
    """Content of a model directory.

    Attributes:
        network: The network.
        meaning: The classes or values that its channels predict.
        activation: Mapping from the network's output to values; `none` for classes.
    """

    network: RefineNet
    meaning: Classes | Values
    activation: Activation = "none"


def write_model_directory(
    directory: Path,
    network: RefineNet,
    meaning: Classes | Values,
    activation: Activation | None = None,
    files: Mapping[str, str] | None = None,
    image_format: ImageFormat | None = None,
) -> None:
    """Write a directory that `RefineNet.from_pretrained`, `predict` and `test` accept, as a whole or not at all.

    Args:
        directory: The directory; it must not exist.
        network: The network.
        meaning: The classes or values that its channels predict.
        activation: Mapping from the network's output to values, `task.hparams["activation"]` of a `RegressionTask`; None for
            classes.
        files: Texts of further files by name, such as a model card, README.md.
        image_format: Format of the images, written to `images.json`; None for 8-bit RGB.

    Raises:
        CheckpointError: The directory exists already, or cannot be written.
        ValueError: Values lack an activation, or classes have one.
    """
    allowed = get_args(Activation) if isinstance(meaning, Values) else (None,)
    if activation not in allowed:
        raise ValueError(f"activation is {activation!r}; for these channels, it must be {' or '.join(map(repr, allowed))}")
    if directory.exists():
        raise CheckpointError(f"{directory}: exists already; use another directory, or remove it")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            network.files = meaning_files(meaning, activation, image_format)
            network.save_pretrained(str(unfinished))
            if "README.md" not in (files or {}):
                (unfinished / "README.md").unlink()  # the card of a network without its data and scores
            for file, text in (files or {}).items():
                (unfinished / file).write_text(text, encoding="utf-8")
            # mkdtemp and safetensors create files that other users cannot read.
            unfinished.chmod(0o755)
            for path in unfinished.iterdir():
                path.chmod(0o644)
            os.replace(unfinished, directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be written ({error})") from error


def read_model_directory(directory: Path) -> Model:
    """Read a model directory.

    Returns:
        The network, and the meaning of its channels: numbered classes if the directory has neither `classes.json` nor
        `values.json`.

    Raises:
        CheckpointError: The directory has no model, it cannot be read, or its weights do not fit the network in its config.
    """
    try:
        with contextlib.redirect_stdout(None):  # smp prints a line on each load
            network = RefineNet.from_pretrained(str(directory))
        outputs: int = network.segmentation_head[-1].out_channels
    except CheckpointError:
        raise
    except Exception as error:  # smp, safetensors and json raise errors of different types
        raise CheckpointError(f"{directory}: cannot be read as a RefineNet ({error}); import or save it again") from error
    number = outputs - (network.void_channel is not None)
    found = read_meaning(directory)
    if found is None:
        return Model(network, Classes.numbered(number))
    meaning, activation = found
    if isinstance(meaning, Values) and len(meaning) != outputs:
        raise CheckpointError(f"{directory}: {VALUES_FILE} names {len(meaning)} values, but the network has {outputs} outputs")
    if isinstance(meaning, Classes) and len(meaning) != number:
        raise CheckpointError(f"{directory}: {CLASSES_FILE} names {len(meaning)} classes, but the network has {number}")
    return Model(network, meaning, activation)


def read_meaning(directory: Path) -> tuple[Classes | Values, Activation] | None:
    """Read the meaning of the channels and the activation of a model directory; None if it does not name them.

    Raises:
        CheckpointError: `classes.json` or `values.json` cannot be read, or both exist.
    """
    classes, values = directory / CLASSES_FILE, directory / VALUES_FILE
    if classes.exists() and values.exists():
        raise CheckpointError(f"{directory}: has {CLASSES_FILE} and {VALUES_FILE}; remove the one that is not the network's")
    file = values if values.exists() else classes
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if file == classes:
            return Classes.from_dict(content), "none"
        activation = content["activation"]
        if activation not in get_args(Activation):
            raise ValueError(f"activation is {activation!r}; it must be one of {', '.join(get_args(Activation))}")
        return Values.from_dict(content), activation
    except (OSError, LookupError, TypeError, ValueError) as error:
        problem = f"no key {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{file}: cannot be read ({problem}); correct it, or write the directory again") from error
