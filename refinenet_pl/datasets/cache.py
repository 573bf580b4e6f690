"""Slow files read once: masks in .mat and HDF5 files become PNGs beside the data."""

import contextlib
import fcntl
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from refinenet_pl.cpu import cores
from refinenet_pl.errors import DataError
from refinenet_pl.files import expand_path, replaced

# Below this, starting processes takes longer than the work.
FEW = 32


class Conversion(NamedTuple):
    """One PNG to make.

    Attributes:
        target: The PNG.
        sources: The file that the converting function reads, and others that its result depends on; the PNG is made again if
            one of them is newer.
        arguments: Further arguments of the converting function.
    """

    target: Path
    sources: tuple[Path, ...]
    arguments: tuple[Any, ...] = ()


def cache_folder(root: Path, given: str | Path | None, name: str) -> Path:
    """The folder of a dataset's converted files: `refinenet_pl_cache/NAME` in its own folder, or NAME in the one given.

    Raises:
        DataError: The given path names an environment variable that is not set.
    """
    return (expand_path(given, DataError) if given else root / "refinenet_pl_cache") / name


def convert(conversions: list[Conversion], function: Callable[..., np.ndarray], description: str) -> None:
    """Make the PNGs that are missing, by several processes.

    Each PNG appears whole or not at all, so an interrupted conversion resumes. Of several training processes one converts and
    the others wait.

    Args:
        conversions: The PNGs; all targets are in one folder.
        function: Maps the first source and the arguments to uint8 (height, width) or (height, width, 3). Defined at a module's
            top level, since it is sent to other processes.
        description: Of the progress bar.

    Raises:
        DataError: The function raised it, or the folder cannot be written.
    """
    if not _missing(conversions):
        return
    folder = conversions[0].target.parent
    with _locked(folder):
        missing = _missing(conversions)  # another process may have made them while this one waited
        if len(missing) <= FEW:
            for conversion in missing:
                _make(function, conversion)
            return
        with ProcessPoolExecutor(cores()) as pool:
            made = pool.map(_make, repeat(function), missing)
            try:
                deque(tqdm(made, total=len(missing), desc=description, unit="file", disable=None), maxlen=0)
            except BrokenProcessPool:
                raise DataError(
                    f"{folder}: a process that converts {description} died, for lack of memory, or because a damaged file "
                    "made scipy crash; what was converted is kept. Start again with more memory, or copy the files anew"
                ) from None


def _missing(conversions: list[Conversion]) -> list[Conversion]:
    def age(path: Path) -> float | None:
        try:
            return path.stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None

    ages = {source: age(source) for source in {source for conversion in conversions for source in conversion.sources}}
    for source, changed in ages.items():
        if changed is None:
            raise DataError(f"{source}: no such file; the official download holds it, is the copy complete?")
    made = [age(conversion.target) for conversion in conversions]
    return [
        conversion
        for conversion, when in zip(conversions, made, strict=True)
        if when is None or when < max(ages[source] for source in conversion.sources)
    ]


def _make(function: Callable[..., np.ndarray], conversion: Conversion) -> None:
    pixels = function(conversion.sources[0], *conversion.arguments)
    try:
        with replaced(conversion.target, durable=False) as stream:
            Image.fromarray(pixels).save(stream, format="PNG", compress_level=3)
    except OSError as error:
        raise _unwritable(conversion.target.parent, error) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unwritable(folder, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder}: converted masks cannot be written there ({error.strerror or error}); give another folder with "
        'the option cache of the data set, in a recipe --data.dataset_options=\'{"cache": "FOLDER"}\''
    )
