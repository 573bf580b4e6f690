"""Start of a training from the weights of another network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from refinenet_pl.checkpoints.hub import local_path
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.checkpoints.model_directory import read_meaning, read_model_directory
from refinenet_pl.checkpoints.published.reader import read_published
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError, some
from refinenet_pl.files import sha256
from refinenet_pl.models.dense_network import arguments_of
from refinenet_pl.state_dicts import describe_nonfinite


class Weights(NamedTuple):
    """Weights to start from.

    Attributes:
        source: Path or hub id.
        sha256: Hash of the file, or of the weights' file in a model directory, as hexadecimal digits.
        tensors: Tensors of the network by name.
        meaning: Classes or values of its channels; None if unknown.
        void_channel: Position of an additional void output; None if there is none.
    """

    source: str
    sha256: str
    tensors: Mapping[str, Tensor]
    meaning: Classes | Values | None
    void_channel: str | None = None


@dataclass(frozen=True)
class Initialization:
    """What a network took from other weights.

    Attributes:
        source: Path or hub id of the weights.
        sha256: Hash of their file.
        taken: Number of tensors that were taken.
        channels: Names of the classes or values whose channels of the classifier were taken; None if all were taken.
        new: Names of the network's tensors that keep their random or ImageNet values.
        unused: Names of the tensors that the network lacks.
    """

    source: str
    sha256: str
    taken: int
    channels: list[str] | None
    new: list[str]
    unused: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for a record."""
        return asdict(self)

    def describe(self) -> str:
        """Describe it in a few lines."""
        lines = [f"initialized from {self.source} (SHA-256 {self.sha256[:12]}): {self.taken} tensors taken"]
        if self.channels is not None:
            names = ", ".join(self.channels) or "none"
            lines.append(f"  classifier: new, except for the channels of the same name: {names}")
        lines += [f"  {words}: {some(names)}" for words, names in (("new", self.new), ("left over", self.unused)) if names]
        return "\n".join(lines)


def read_weights(source: str) -> Weights:
    """Read the weights of another network.

    Args:
        source: A checkpoint of `refinenet fit`, a model directory, a published RefineNet checkpoint, or the id of a model on
            the Hugging Face Hub (`user/name`), which is downloaded.

    Raises:
        CheckpointError: There is no such file or model, or it cannot be read; the message names it.
    """
    path = local_path(source)
    if path.is_dir():
        return _of_directory(path, source)
    digest = sha256(path)
    if _is_own(path):
        task, meaning = load_for_prediction(path)
        return Weights(source, digest, task.network.state_dict(), meaning, task.hparams.get("void_channel"))
    network = read_published(path).network
    return Weights(source, digest, network.state_dict(), None, network.void_channel)


def describe_network(source: str) -> dict[str, Any]:
    """Describe the network of other weights.

    Args:
        source: See `read_weights`.

    Returns:
        Its `class_path` and `init_args`.

    Raises:
        CheckpointError: There is no such file or model, it cannot be read, or it does not describe its network.
    """
    path = local_path(source)
    if path.is_dir():
        network: Any = arguments_of(read_model_directory(path).network)
    elif _is_own(path):
        network = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("network")
    else:
        network = arguments_of(read_published(path).network)
    if network is None:
        raise CheckpointError(f"{source}: does not describe its network; set model.network instead of --init_network true")
    return {"class_path": network["class_path"], "init_args": dict(network["init_args"])}


def initialize(
    network: nn.Module, weights: Weights, meaning: Classes | Values, void_channel: str | None = None, partial: bool = False
) -> Initialization:
    """Set a network's tensors to those of other weights with the same name and shape.

    The classifier may have another number of channels. It is then new, but channels whose classes or values have the same name
    are taken, and that of void if both have one.

    Args:
        network: The network, changed in place.
        weights: The weights.
        meaning: Classes or values of the network's channels.
        void_channel: Position of the network's additional void output; None if there is none.
        partial: Allow other tensors than the classifier's to be missing or of another shape.

    Returns:
        What was taken.

    Raises:
        CheckpointError: Another tensor than the classifier's is missing or has another shape, without `partial`; or none fits.
    """
    if problem := describe_nonfinite(weights.tensors):
        raise CheckpointError(f"{weights.source}: {problem}")
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}  # unchanged if an error follows
    classifier = _classifier(network)
    same_meaning = _names(meaning, void_channel) == _names(weights.meaning, weights.void_channel) or weights.meaning is None
    taken, channels = {}, None
    for name, tensor in own.items():
        other = weights.tensors.get(name)
        if other is None or other.shape[1:] != tensor.shape[1:] or other.dim() != tensor.dim():
            continue
        if name in classifier and not (same_meaning and other.shape == tensor.shape):
            pairs = _pairs(meaning, void_channel, weights) if weights.meaning is not None else []
            channels = [label for label, _, _ in pairs]
            for _, target, source in pairs:
                tensor[target] = other[source]
        elif other.shape == tensor.shape:
            taken[name] = other
    new = [name for name in own if name not in taken and not (name in classifier and channels is not None)]
    unused = [name for name in weights.tensors if name not in own]
    if not taken:
        raise CheckpointError(
            f"{weights.source}: none of its tensors fits the network; use its network with --init_network true"
        )
    # Only the classifier may be new, or of another shape.
    misfits = [name for name in new if name not in classifier] + unused
    if misfits and not partial:
        raise CheckpointError(
            f"{weights.source}: its tensors do not fit the network: {some(misfits)} are missing, left over or of another "
            "shape; use its network with --init_network true, or start with the others with --init_partial true"
        )
    network.load_state_dict(own | taken)
    return Initialization(weights.source, weights.sha256, len(taken), channels, new, unused)


def _classifier(network: nn.Module) -> set[str]:
    """Names of the tensors of the last layer with a channel for each class."""
    last = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)][-1]
    return {f"{last}.weight", f"{last}.bias"}


def _names(meaning: Classes | Values | None, void_channel: str | None) -> list[str] | None:
    """Name of each channel; None if unknown."""
    if meaning is None:
        return None
    names: list[str] = list(meaning.names)
    return {None: names, "first": ["\0void", *names], "last": [*names, "\0void"]}[void_channel]


def _pairs(meaning: Classes | Values, void_channel: str | None, weights: Weights) -> list[tuple[str, int, int]]:
    """Name, own channel and other channel of each class or value of the same name."""
    own, other = _names(meaning, void_channel) or [], _names(weights.meaning, weights.void_channel) or []
    if type(meaning) is not type(weights.meaning):
        return []
    return [(name.strip("\0"), place, other.index(name)) for place, name in enumerate(own) if name in other]


def _of_directory(path: Path, source: str) -> Weights:
    model = read_model_directory(path)
    meaning = None if read_meaning(path) is None else model.meaning  # not the placeholders of a directory without names
    files = sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
    return Weights(source, sha256(files[0]), model.network.state_dict(), meaning, model.network.void_channel)


def _is_own(path: Path) -> bool:
    """Test if a file is a checkpoint of `refinenet fit`."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # not a zipped checkpoint of tensors
        return False
    return isinstance(content, dict) and {"state_dict", "hyper_parameters"} <= content.keys()
