"""Checkpoints of the published families with synthetic weights, for `record.py` and the tests."""

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).parent

# Odd sizes, a multiple of the stride 32, and a size whose smallest map has a single row.
SIZES = ((65, 97), (64, 96), (30, 131))


def shapes(family: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published checkpoint, in its order."""
    rows = [line.split("\t") for line in (HERE / f"{family}.tsv").read_text().splitlines() if not line.startswith("#")]
    return {name: tuple(int(side) for side in shape.split("x") if side) for name, shape in rows}


def state_dict(family: str) -> dict[str, Tensor]:
    """A checkpoint whose activations neither vanish nor explode, and have both signs before each ReLU."""
    return {name: _tensor(name, shape) for name, shape in shapes(family).items()}


def image(height: int, width: int) -> Tensor:
    """Normalized input of a network: float32 (2, 3, height, width)."""
    return torch.from_numpy(np.random.default_rng(height).normal(size=(2, 3, height, width)).astype(np.float32))


def _tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) == 4:
        array = rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))
    elif name.endswith("running_var"):
        array = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("weight"):
        array = rng.uniform(0.3, 0.8, shape)
    else:
        array = rng.normal(0, 0.2, shape)
    return torch.from_numpy(np.asarray(array, np.float32))
