"""Conversion cache: arrays in .mat and HDF5 files, which are slow to read, are converted to PNGs or NumPy files once."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock
from PIL import Image
from tqdm import tqdm

from refinenet_pl.cpu import cores, process_pool
from refinenet_pl.errors import DataError
from refinenet_pl.files import expand_path, replaced

CACHE = "refinenet_pl_cache"
"""Name of the folder of converted files in a dataset's root."""

# Up to this number of files, starting processes takes longer than the conversion.
FEW = 32


class Conversion(NamedTuple):
    """One file to create.

    Attributes:
        target: The file, a PNG or, with the suffix .npy, a NumPy file.
        sources: The file that the converting function reads, followed by other files on which the result depends. The target is
            recreated if one of them is newer.
        arguments: Further arguments of the converting function.
    """

    target: Path
    sources: tuple[Path, ...]
    arguments: tuple[Any, ...] = ()


def cache_folder(root: Path, given: str | Path | None, name: str) -> Path:
    """Folder for a dataset's converted files: `NAME` in the given folder, or in `refinenet_pl_cache` in its root.

    Raises:
        DataError: The given path names an environment variable that is not set.
    """
    return (expand_path(given, DataError) if given else root / CACHE) / name


def convert(conversions: list[Conversion], function: Callable[..., np.ndarray], description: str) -> None:
    """Create the files that are missing or outdated, in parallel.

    Each file appears completely or not at all, so that an interrupted conversion resumes. If several processes call this at the
    same time, one converts and the others wait.

    Args:
        conversions: The files; all targets are in one folder.
        function: Maps the first source and the arguments to uint8 (height, width) or (height, width, 3), or for NumPy files to
            any array. Defined at module level, because it is sent to other processes.
        description: Label of the progress bar.

    Raises:
        DataError: A source is missing, the function raised a DataError, a process died, or the folder is not writable.
    """
    if not _missing(conversions):
        return
    folder = conversions[0].target.parent
    with _locked(folder):
        missing = _missing(conversions)  # another process may have created them in the meantime
        if len(missing) <= FEW:
            for conversion in missing:
                _make(function, conversion)
            return
        with process_pool(cores()) as pool:
            made = pool.map(_make, repeat(function), missing)
            try:
                deque(tqdm(made, total=len(missing), desc=description, unit="file", disable=None), maxlen=0)
            except BrokenProcessPool:
                raise DataError(
                    f"{folder}: a process that converts {description} died, either out of memory or because scipy crashed on a "
                    "damaged file; the files converted so far are kept. Start again with more memory, or copy the files again"
                ) from None


def _missing(conversions: list[Conversion]) -> list[Conversion]:
    """The conversions whose target is missing or older than a source."""
    changed = {}
    for source in {source for conversion in conversions for source in conversion.sources}:
        time = _modification_time(source)
        if time is None:
            raise DataError(f"{source}: no such file, but part of the official download; is the copy complete?")
        changed[source] = time
    made = [_modification_time(conversion.target) for conversion in conversions]
    return [
        conversion
        for conversion, time in zip(conversions, made, strict=True)
        if time is None or time < max(changed[source] for source in conversion.sources)
    ]


def _modification_time(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None


def _make(function: Callable[..., np.ndarray], conversion: Conversion) -> None:
    pixels = function(conversion.sources[0], *conversion.arguments)
    try:
        with replaced(conversion.target, durable=False) as stream:
            if conversion.target.suffix == ".npy":
                np.save(stream, pixels)
            else:
                Image.fromarray(pixels).save(stream, format="PNG", compress_level=3)
    except OSError as error:
        raise _unwritable(conversion.target.parent, error) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock").acquire()
    except OSError as error:
        raise _unwritable(folder, error) from error
    with lock:
        yield


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder}: converted files cannot be written there ({error.strerror or error}); choose another folder with the "
        'dataset option cache, in a recipe --data.dataset_options=\'{"cache": "FOLDER"}\''
    )
