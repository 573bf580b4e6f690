"""Safe reader of state dicts in PyTorch files, which never runs code from a file."""

import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from refinenet_pl.checkpoints.published.limits import refuse_bomb
from refinenet_pl.errors import CheckpointError


def read_state_dict(path: Path, marker: str) -> dict[str, Tensor]:
    """Find a network's state dict in a PyTorch file.

    The dict may be nested in others (`state_dict`, `model`, ...), and its names may have a prefix (`module.`).

    Args:
        path: The file.
        marker: Name of one of the network's tensors, from which the prefix is inferred.

    Returns:
        Tensors on the CPU by name, without the prefix.

    Raises:
        CheckpointError: The file is damaged, contains objects other than data, would unpack to more than a network can need, or
            contains no such dict, or several.
    """
    try:
        size = _unpacked_size(path)
    except Exception as error:  # undecodable names, unknown versions, ...
        raise CheckpointError(f"{path}: cannot be read as a PyTorch checkpoint ({_reason(error)}); is it complete?") from None
    refuse_bomb(path, size)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost any error on damaged bytes
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path}: contains more than tensors ({code[1]}), and opening it could run code, so it is refused; if you "
                "trust it, load it with the code that wrote it and save only its state_dict"
            ) from None
        raise CheckpointError(f"{path}: cannot be read as a PyTorch checkpoint ({_reason(error)}); is it complete?") from None
    found = list(_dictionaries(content, marker))
    if len(found) != 1:
        raise CheckpointError(f"{path}: has {len(found) or 'no'} state dicts with a tensor {marker}; is it RefineNet?")
    state, prefix = found[0]
    foreign = [str(name) for name in state if not (isinstance(name, str) and name.startswith(prefix))]
    others = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if foreign or others:
        raise CheckpointError(
            f"{path}: its state dict has other entries than the network's tensors ({prefix}*): "
            f"{', '.join((foreign + others)[:5])}"
        )
    # A tensor can have any shape with the same few bytes for all of its elements.
    refuse_bomb(path, sum(tensor.nbytes for tensor in state.values()))
    return {name.removeprefix(prefix): tensor.detach() for name, tensor in state.items()}


def _dictionaries(content: object, marker: str, depth: int = 0) -> Iterator[tuple[dict, str]]:
    """Dicts with the marker, nested at most three deep, and the prefix of their names."""
    if not isinstance(content, dict) or depth > 3:
        return
    prefixes = [name.removesuffix(marker) for name in content if isinstance(name, str) and name.endswith(marker)]
    if prefixes:
        yield content, min(prefixes, key=len)
        return
    for value in content.values():
        yield from _dictionaries(value, marker, depth + 1)


def _unpacked_size(path: Path) -> int:
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # torch's message explains how to open it anyway
        return "not a pickle of tensors"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
