"""MATLAB's file formats, and a slow reference of its bicubic resizing."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np


def matlab_cubic(distance: float) -> float:
    """Kernel of `imresize(..., 'bicubic')`: Keys' with a = -0.5."""
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d <= 2 else 0.0


def matlab_line(source: int, target: int, factor: float) -> np.ndarray:
    """Weights of MATLAB's `contributions`, (target, source), computed one output and one kernel tap at a time."""
    weights = np.zeros((target, source))
    reflected = [*range(source), *reversed(range(source))]
    stretch = max(1, 1 / factor)
    for place in range(target):
        center = (place + 0.5) / factor - 0.5
        for tap in range(math.floor(center - 2 * stretch), math.ceil(center + 2 * stretch) + 1):
            weights[place, reflected[tap % (2 * source)]] += matlab_cubic((center - tap) / stretch)
    return weights / weights.sum(1, keepdims=True)


def cell(values: Sequence) -> np.ndarray:
    """A cell array of one row, for `scipy.io.savemat`."""
    array = np.empty((1, len(values)), object)
    array[0, :] = values
    return array


def struct_array(fields: Sequence[str], rows: Sequence[Sequence]) -> np.ndarray:
    """A struct array of one row, for `scipy.io.savemat`; each element of `rows` lists the values of a struct's fields."""
    array = np.empty((1, len(rows)), [(field, object) for field in fields])
    for struct, values in zip(array[0], rows, strict=True):
        for field, value in zip(fields, values, strict=True):
            struct[field] = value
    return array


@contextmanager
def matlab73(path: Path) -> Iterator[h5py.File]:
    """A new MATLAB 7.3 file: HDF5 after a user block with MATLAB's header."""
    with h5py.File(path, "w", userblock_size=512) as file:
        yield file
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 2 12:00:00 2012 HDF5 schema 1.00 ."
    with path.open("r+b") as stream:
        stream.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")


def references(file: h5py.File, name: str, contents: Sequence[np.ndarray]) -> None:
    """Write an array of references, as MATLAB 7.3 stores cell arrays and fields of struct arrays."""
    stored = [file.create_dataset(f"#refs#/{name}{index}", data=content) for index, content in enumerate(contents)]
    file.create_dataset(name, data=np.array([[one.ref] for one in stored], h5py.ref_dtype))


def text(value: str) -> np.ndarray:
    """A string in HDF5: UTF-16 codes, one per row."""
    return np.frombuffer(value.encode("utf-16-le"), np.uint16)[:, None]
