"""Published checkpoints, read into `RefineNet`: each of their tensors is used once, and each of ours is set once."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from refinenet_pl.checkpoints.published.matconvnet import convert_matconvnet
from refinenet_pl.checkpoints.published.matconvnet_file import read_matconvnet
from refinenet_pl.checkpoints.published.names import Family, listed
from refinenet_pl.checkpoints.published.pytorch import read_pytorch
from refinenet_pl.errors import CheckpointError
from refinenet_pl.models.refinenet import RefineNet


class Published(NamedTuple):
    """A published network.

    Attributes:
        family: Which code base it is from.
        network: It, in evaluation mode.
    """

    family: Family
    network: RefineNet


def read_published(path: Path, family: Family | None = None, classes: int | None = None) -> Published:
    """Read a published checkpoint.

    Args:
        path: `.pth`, `.pth.tar` or `.ckpt` of the PyTorch ports; `.mat` of the authors.
        family: What it must be; None for whatever it is.
        classes: How many outputs it must have, void included; None for as many as it has.

    Raises:
        CheckpointError: The file is damaged, unsafe, of another family or number of outputs, or does not fit: what is missing,
            left over, of another shape or not finite is listed.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    start = _first_bytes(path)
    if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:]):
        found, (arguments, tensors) = "matconvnet", convert_matconvnet(path, read_matconvnet(path))
    elif start.startswith(b"MATLAB"):
        raise CheckpointError(
            f"{path}: is a .mat file of before version 7.3; load it in MATLAB with the authors' code and save it with -v7.3"
        )
    else:
        found, arguments, tensors = read_pytorch(path)
    if family not in (None, found):
        raise CheckpointError(f"{path}: is a checkpoint of the family {found}, not {family}")
    if classes not in (None, arguments["classes"]):
        raise CheckpointError(f"{path}: has {arguments['classes']} outputs, not {classes}")
    with torch.device("meta"):  # random weights would be drawn for seconds, and thrown away
        network = RefineNet(encoder_weights=None, **arguments)
    _require_fit(path, network, tensors)
    network.load_state_dict(tensors, assign=True)
    network.requires_grad_(True).to(memory_format=torch.channels_last)
    return Published(found, network.eval())


def _require_fit(path: Path, network: RefineNet, tensors: dict[str, Tensor]) -> None:
    """Raise a CheckpointError unless the tensors are the network's, one by one, and finite."""
    wanted = network.state_dict()
    shapes = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    kinds = [name for name, tensor in tensors.items() if name in wanted and not _same_kind(tensor, wanted[name])]
    wild = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    problems = (
        listed("tensors that are missing", [name for name in wanted if name not in tensors])
        + listed("tensors without a place", [name for name in tensors if name not in wanted])
        + listed("tensors of another shape", shapes)
        + listed("tensors of another type", kinds)
        + listed("tensors with values that are not finite", wild)
    )
    if problems:
        raise CheckpointError(f"{path}: {problems}named as here, not as in the file")
    for name, tensor in tensors.items():
        # A file can let tensors share memory.
        tensors[name] = tensor.to(wanted[name].dtype, copy=True, memory_format=torch.contiguous_format)


def _same_kind(tensor: Tensor, wanted: Tensor) -> bool:
    return tensor.is_floating_point() == wanted.is_floating_point() and not tensor.is_complex()


def _first_bytes(path: Path) -> bytes:
    """Enough to tell kinds of files apart: MATLAB puts 512 bytes of its own before HDF5's signature of 8."""
    with path.open("rb") as file:
        return file.read(520)
