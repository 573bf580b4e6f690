"""MATLAB files: up to version 7 through scipy, version 7.3 (HDF5) through h5py, with errors that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from refinenet_pl.errors import DataError


def read_mat(path: Path, *names: str) -> dict[str, Any]:
    """Read variables of a .mat file up to version 7.

    Args:
        path: The file.
        names: Variables to read; each must be there.

    Returns:
        The variables as scipy gives them: structs as `scipy.io.matlab.mat_struct`, one-element dimensions squeezed.

    Raises:
        DataError: The file is missing, damaged or of another version, or lacks a variable.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; the official download holds it, is the copy complete?")
    try:
        content = scipy.io.loadmat(path, variable_names=names, squeeze_me=True, struct_as_record=False)
    except NotImplementedError:
        raise DataError(f"{path}: is a MATLAB 7.3 file, where one of an older version was expected; copy it anew") from None
    except Exception as error:  # damaged bytes lead scipy's reader to almost anything
        raise DataError(f"{path}: cannot be read as a .mat file ({error}); is it complete? Copy it anew") from error
    missing = [name for name in names if name not in content]
    if missing:
        raise DataError(f"{path}: holds no variable {', '.join(missing)}; is this the official file? Copy it anew")
    return content


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """A .mat file of version 7.3. h5py gives its arrays with all axes in reverse.

    Raises:
        DataError: The file is missing or damaged, or what the caller reads of it is missing or of another kind.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; the official download holds it, is the copy complete?")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # damaged bytes surface while arrays are read, as almost anything
        raise DataError(f"{path}: cannot be read as a MATLAB 7.3 file ({error}); is it complete? Copy it anew") from error


def label_map(values: object, place: str) -> np.ndarray:
    """A label map as it comes from a .mat file, whose integers have the type that MATLAB found smallest.

    Args:
        values: What was read.
        place: Named in errors.

    Returns:
        The same, an array of integers (height, width), none of them negative.

    Raises:
        DataError: It is not that.
    """
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "iu" or values.min() < 0:
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(
            f"{place}: expected labels (height, width), integers from 0, found {found}; is this the official file? Copy it anew"
        )
    return values
