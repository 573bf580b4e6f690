"""Reader of published checkpoints into `RefineNet`, which uses each of their tensors and sets each of ours exactly once."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from refinenet_pl.checkpoints.published.names import Family, listed
from refinenet_pl.checkpoints.published.pytorch import read_pytorch
from refinenet_pl.errors import CheckpointError
from refinenet_pl.extras import require
from refinenet_pl.models.refinenet import RefineNet


class Published(NamedTuple):
    """A published network.

    Attributes:
        family: Code base of the checkpoint.
        network: The network, in evaluation mode.
    """

    family: Family
    network: RefineNet


def read_published(path: Path, family: Family | None = None, classes: int | None = None) -> Published:
    """Read a published checkpoint.

    Args:
        path: `.pth`, `.pth.tar` or `.ckpt` of the PyTorch ports; `.mat` of the authors.
        family: Expected family; None for any.
        classes: Expected number of outputs, including void; None for any.

    Raises:
        CheckpointError: The file is damaged, unsafe, or of another family or number of outputs, or tensors are missing,
            unexpected, of another shape or type, or not finite, or h5py is not installed.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    start = _first_bytes(path)
    found: Family
    if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:]):
        require("h5py", "matlab", str(path), CheckpointError)
        from refinenet_pl.checkpoints.published.matconvnet import convert_matconvnet
        from refinenet_pl.checkpoints.published.matconvnet_file import read_matconvnet

        found, (arguments, tensors) = "matconvnet", convert_matconvnet(path, read_matconvnet(path))
    elif start.startswith(b"MATLAB"):
        raise CheckpointError(
            f"{path}: is a .mat file from before version 7.3; load it in MATLAB with the authors' code and save it with -v7.3"
        )
    else:
        found, arguments, tensors = read_pytorch(path)
    if family not in (None, found):
        raise CheckpointError(f"{path}: is a checkpoint of the family {found}, not {family}")
    if classes not in (None, arguments["classes"]):
        raise CheckpointError(f"{path}: has {arguments['classes']} outputs, not {classes}")
    with torch.device("meta"):  # sampling random weights, to be discarded, would take seconds
        network = RefineNet(encoder_weights=None, **arguments)
    _require_fit(path, network, tensors)
    network.load_state_dict(tensors, assign=True)
    network.requires_grad_(True).to(memory_format=torch.channels_last)
    return Published(found, network.eval())


def _require_fit(path: Path, network: RefineNet, tensors: dict[str, Tensor]) -> None:
    """Check that the tensors are the network's, and finite, and convert their types."""
    expected = network.state_dict()
    shapes = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(expected[name].shape)}"
        for name in expected
        if name in tensors and tensors[name].shape != expected[name].shape
    ]
    kinds = [name for name, tensor in tensors.items() if name in expected and not _same_kind(tensor, expected[name])]
    nonfinite = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    problems = (
        listed("missing tensors", [name for name in expected if name not in tensors])
        + listed("unexpected tensors", [name for name in tensors if name not in expected])
        + listed("tensors of another shape", shapes)
        + listed("tensors of another type", kinds)
        + listed("tensors with NaN or infinity", nonfinite)
    )
    if problems:
        raise CheckpointError(f"{path}: {problems}with their names in this package, not in the file")
    for name, tensor in tensors.items():
        # Tensors in a file may share memory.
        tensors[name] = tensor.to(expected[name].dtype, copy=True, memory_format=torch.contiguous_format)


def _same_kind(tensor: Tensor, expected: Tensor) -> bool:
    return tensor.is_floating_point() == expected.is_floating_point() and not tensor.is_complex()


def _first_bytes(path: Path) -> bytes:
    """Bytes that distinguish the file formats: MATLAB writes 512 bytes before HDF5's signature of 8."""
    with path.open("rb") as file:
        return file.read(520)
