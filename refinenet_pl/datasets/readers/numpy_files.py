"""Reading of NumPy files."""

from pathlib import Path

import numpy as np

from refinenet_pl.errors import DataError


def read_numpy(path: Path) -> np.ndarray:
    """Read the numbers of a NumPy file (.npy); pickled objects are refused.

    Returns:
        Booleans, integers or floating-point numbers, (height, width) or three-dimensional.

    Raises:
        DataError: The file is missing or damaged, or has another type or shape.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a NumPy array ({error}); save it again with numpy.save") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif" or array.ndim not in (2, 3) or 0 in array.shape:
        found = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise DataError(f"{path}: has {found}; save numbers of shape (height, width) or (height, width, channels)")
    return array
