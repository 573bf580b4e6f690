"""State dicts from files: descriptions of mismatches and non-finite values, and a digest."""

import hashlib
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from refinenet_pl.errors import some

# Lists in the error message of `load_state_dict`, of torch and of safetensors.
_LISTS = {"missing": r"Missing key\(s\) in state_dict: (.*)", "unexpected": r"Unexpected key\(s\) in state_dict: (.*)"}
_SIZE = re.compile(r"size mismatch for (\S+): copying a param with shape (.*?) from checkpoint, .* is (.*?)\.?$", re.MULTILINE)
_SHOWN = 3


def is_mismatch(error: Exception) -> bool:
    """Test if an error is `load_state_dict`'s about tensors that do not fit."""
    return isinstance(error, RuntimeError) and "Error(s) in loading state_dict" in str(error)


def describe_mismatch(error: Exception) -> str:
    """Summarize the tensors that do not fit: their number and the first names.

    Args:
        error: Error of `load_state_dict`, whose message has a line for each tensor.
    """
    text, parts = str(error), []
    for problem, pattern in _LISTS.items():
        if found := re.search(pattern, text):
            names = re.findall('"([^"]+)"', found[1])
            parts.append(f"{problem}: {some(names, _SHOWN)}")
    if sizes := _SIZE.findall(text):
        names = [f"{name} ({_shape(there)} there, {_shape(here)} here)" for name, there, here in sizes]
        parts.append(f"of another shape: {some(names, _SHOWN)}")
    return "; ".join(parts) or text.splitlines()[-1].strip()


def nonfinite(state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity."""
    return [name for name, tensor in state.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]


def describe_nonfinite(state: Mapping[str, Tensor]) -> str:
    """Summarize the tensors that hold NaN or infinity; empty if there are none."""
    names = nonfinite(state)
    if not names:
        return ""
    found = f"{len(names)} of {len(state)} tensors hold NaN or infinity ({some(names, _SHOWN)})"
    return f"{found}: the training that wrote them diverged"


def digest(state: Mapping[str, Tensor]) -> str:
    """Return a hash of the names and values, equal on all devices."""
    content = hashlib.blake2b(digest_size=16)
    for name, tensor in state.items():
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()


def _shape(text: str) -> str:
    return text.removeprefix("torch.Size(").removesuffix(")")
