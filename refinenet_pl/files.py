"""Paths that users give, names for files, and files that are replaced as a whole or not at all."""

import contextlib
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([^}/]*)\})")


def expand_path(path: str | Path, error: type[Exception] = ValueError) -> Path:
    """Replace environment variables and a leading `~` or `~USER` in a path, as a shell does.

    A path that exists as it is given stays as it is, a file called `$x.png` or `~` among them.

    Args:
        path: As a user has written it.
        error: Type of the error.

    Returns:
        The path, relative if the given one is.

    Raises:
        ValueError: A variable is not set; the message names it. Of another type if `error` is given.
    """
    text = os.fspath(path)
    if os.path.lexists(text):
        return Path(text)

    def value(found: re.Match) -> str:
        name = found[1] or found[2]
        if name in os.environ:
            return os.environ[name]
        rest_of_part = text[found.end() :].partition("/")[0]
        if os.path.lexists(text[: found.end()] + rest_of_part):
            return found[0]  # a folder's own name
        raise error(f"{text}: the environment variable {name} is not set; set it, or write the path out")

    return Path(os.path.expanduser(_VARIABLE.sub(value, text)))


def refuse_existing(paths: Iterable[Path], error: type[Exception] = ValueError) -> None:
    """Raise an error that names the first of the files that exist, their number and the option that replaces them."""
    existing = [path for path in paths if os.path.lexists(path)]
    if existing:
        more = f" (and {len(existing) - 1:,} more files)" if len(existing) > 1 else ""
        raise error(
            f"{existing[0]}{more}: would be overwritten; give another --output, or --overwrite to replace what is there"
        )


def distinct(names: Sequence[str], endings: Sequence[str] = ("",)) -> list[str]:
    """Number names so that no two of their files are one.

    Args:
        names: Names without an extension, possibly with folders.
        endings: Each name stands for one file for each of these.

    Returns:
        The names, in their order. A later one of two whose files would be the same, also on a disk that does not distinguish
        case or Unicode forms, becomes NAME_2, NAME_3, and so on.
    """
    taken: set[str] = set()
    given = []
    for name in names:
        candidate, number = name, 1
        while not taken.isdisjoint(files := {_folded(candidate + ending) for ending in endings}):
            number += 1
            candidate = f"{name}_{number}"
        taken |= files
        given.append(candidate)
    return given


@contextlib.contextmanager
def replaced(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file when the block ends without an error.

    Whatever happens before that, a kill or a power failure included, leaves the file as it was. A process that is killed leaves
    a hidden file beside it.

    Args:
        path: The file.
        durable: Whether the new file also survives a power failure right after the block, for which the disk is waited for.

    Raises:
        OSError: The directory cannot be written, or the disk is full; the error names `path`.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(unfinished, path)
        if durable:
            _sync_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):  # it would take the place of the error that matters
            unfinished.unlink(missing_ok=True)


def write_json(file: Path, content: dict) -> None:
    """Replace a JSON file as a whole or not at all, even if the process is killed; NaN and infinity become null."""
    with replaced(file) as stream:
        stream.write(json.dumps(_valid(content), indent=1, allow_nan=False).encode())


def _valid(value: Any) -> Any:
    """The value without the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _valid(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_valid(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def slug(name: str) -> str:
    """A name as one word: `val, multi-scale` is `val-multi-scale`."""
    return name.replace(", ", "-").replace(" ", "-").replace("/", "-")


def _folded(name: str) -> str:
    """Equal for names that some disks take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _sync_directory(directory: Path) -> None:
    """Make the new name last through a power failure; the bytes alone would not be found."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
