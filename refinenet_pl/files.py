"""Files that are replaced as a whole or not at all, and what they may be called."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file when the block ends without an error.

    Whatever happens before that, a kill or a power failure included, leaves the file as it was. A process that is killed leaves
    a hidden file beside it.

    Raises:
        OSError: The directory cannot be written, or the disk is full; the error names `path`.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):  # it would take the place of the error that matters
            unfinished.unlink(missing_ok=True)


def slug(name: str) -> str:
    """A name as one word: `val, multi-scale` is `val-multi-scale`."""
    return name.replace(", ", "-").replace(" ", "-").replace("/", "-")


def _sync_directory(directory: Path) -> None:
    """Make the new name last through a power failure; the bytes alone would not be found."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
