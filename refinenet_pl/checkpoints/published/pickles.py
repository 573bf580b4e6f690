"""State dictionaries out of PyTorch's files, as data alone: nothing in a file is ever run."""

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
    """Find a network's tensors in a PyTorch file.

    The dictionary may lie inside others (`state_dict`, `model`, ...), and its names may have a prefix (`module.`).

    Args:
        path: The file.
        marker: Name of one of the network's tensors; its prefix is that of all.

    Returns:
        Names without the prefix, and tensors on the CPU.

    Raises:
        CheckpointError: The file is damaged, holds more than data, would unpack to more than a network can need, or holds no
            such dictionary, or several.
    """
    try:
        size = _unpacked_size(path)
    except Exception as error:  # names that cannot be decoded, versions that do not exist, ...
        raise CheckpointError(f"{path}: cannot be read as a PyTorch checkpoint ({_reason(error)}); is it complete?") from None
    refuse_bomb(path, size)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead torch's reader to almost anything
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            raise CheckpointError(
                f"{path}: holds more than tensors ({foreign[1]}), and opening that could run code. It is refused. Where you "
                "trust it, load it with the code that wrote it and save its state_dict alone"
            ) from None
        raise CheckpointError(f"{path}: cannot be read as a PyTorch checkpoint ({_reason(error)}); is it complete?") from None
    found = list(_dictionaries(content, marker))
    if len(found) != 1:
        raise CheckpointError(f"{path}: holds {len(found) or 'no'} dictionaries with a tensor {marker}; is it of a RefineNet?")
    state, prefix = found[0]
    foreign = [str(name) for name in state if not (isinstance(name, str) and name.startswith(prefix))]
    others = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if foreign or others:
        raise CheckpointError(
            f"{path}: beside the network's tensors ({prefix}*) there is {', '.join((foreign + others)[:5])} in one dictionary"
        )
    # A tensor can claim any shape with the same few bytes for all its elements.
    refuse_bomb(path, sum(tensor.nbytes for tensor in state.values()))
    return {name.removeprefix(prefix): tensor.detach() for name, tensor in state.items()}


def _dictionaries(content, marker: str, depth: int = 0) -> Iterator[tuple[dict, str]]:
    """Dictionaries that hold the marker, at most three deep, each with the prefix of its names."""
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
    if isinstance(error, pickle.UnpicklingError):  # torch's message is about how to open it all the same
        return "not a pickle of tensors"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
