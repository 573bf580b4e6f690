"""MATLAB files, with errors that name the file: up to version 7 with scipy, version 7.3 (HDF5) with h5py."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.io

from refinenet_pl.errors import DataError
from refinenet_pl.extras import require

if TYPE_CHECKING:
    import h5py


def read_mat(path: Path, *names: str) -> dict[str, Any]:
    """Read variables of a .mat file up to version 7.

    Args:
        path: MATLAB file.
        names: Required variables.

    Returns:
        The variables by name, as scipy returns them: structs as `scipy.io.matlab.mat_struct`, singleton dimensions squeezed.

    Raises:
        DataError: The file is missing, damaged or of version 7.3, or lacks a variable.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; copy it from the official download")
    try:
        content = scipy.io.loadmat(path, variable_names=names, squeeze_me=True, struct_as_record=False)
    except NotImplementedError:
        raise DataError(f"{path}: is a MATLAB 7.3 file, but an older version is expected; copy it again") from None
    except Exception as error:  # for damaged bytes, scipy raises errors of almost any type
        raise DataError(f"{path}: cannot be read as a .mat file ({error}); copy it again from an intact source") from error
    missing = [name for name in names if name not in content]
    if missing:
        raise DataError(f"{path}: has no variable {', '.join(missing)}; copy it again from the official download")
    return content


@contextmanager
def open_hdf5(path: Path) -> "Iterator[h5py.File]":
    """Open a .mat file of version 7.3.

    Yields:
        The file. h5py returns its arrays with all axes in reverse order.

    Raises:
        DataError: The file is missing or damaged, the caller fails to read from it, or h5py is not installed.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; copy it from the official download")
    h5py = require("h5py", "matlab", str(path), DataError)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # damage shows only while arrays are read, as errors of almost any type
        raise DataError(
            f"{path}: cannot be read as a MATLAB 7.3 file ({error}); copy it again from an intact source"
        ) from error


def label_map(values: object, place: str) -> np.ndarray:
    """Validate a label map from a .mat file.

    Args:
        values: Variable or field of the file.
        place: File and variable, to name in errors.

    Returns:
        `values`: non-negative integers of any integer dtype, (height, width).

    Raises:
        DataError: `values` is not such an array.
    """
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "iu" or values.min() < 0:
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(
            f"{place}: expected non-negative integers (height, width), found {found}; copy it again from the official download"
        )
    return values
