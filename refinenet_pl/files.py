"""User-given paths, unique file names, and atomic writes."""

import contextlib
import hashlib
import json
import math
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([^}/]*)\})")


def expand_path(path: str | Path, error: type[Exception] = ValueError) -> Path:
    """Expand environment variables and a leading `~` or `~USER` in a path, as a shell does.

    A path that exists literally is returned unchanged, for example a file called `$x.png` or `~`.

    Args:
        path: Path as the user wrote it.
        error: Exception type to raise.

    Returns:
        The expanded path; a relative path stays relative.

    Raises:
        ValueError: An environment variable is not set (raised as `error`).
    """
    text = os.fspath(path)
    if os.path.lexists(text):
        return Path(text)

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name in os.environ:
            return os.environ[name]
        rest_of_part = text[found.end() :].partition("/")[0]
        if os.path.lexists(text[: found.end()] + rest_of_part):
            return found[0]  # an existing folder with a literal `$` in its name
        raise error(f"{text}: the environment variable {name} is not set; set it, or write the full path")

    return Path(os.path.expanduser(_VARIABLE.sub(value, text)))


def refuse_existing(paths: Iterable[Path], error: type[Exception] = ValueError) -> None:
    """Raise `error` if any of the files exists; the message names the first one, the number of others and `--overwrite`."""
    existing = [path for path in paths if os.path.lexists(path)]
    if existing:
        more = f" (and {len(existing) - 1:,} more files)" if len(existing) > 1 else ""
        raise error(
            f"{existing[0]}{more}: would be overwritten; choose another --output, or replace existing files with --overwrite"
        )


def distinct(names: Sequence[str], endings: Sequence[str] = ("",)) -> list[str]:
    """Make names unique by appending numbers.

    Args:
        names: Names without extension, possibly with folders.
        endings: Suffixes of the files that each name produces.

    Returns:
        The names in their original order. If a file of a name collides with one of an earlier name, the name becomes NAME_2,
        NAME_3, and so on. Names that differ only in case or Unicode form collide too, because some file systems do not
        distinguish them.
    """
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while not taken.isdisjoint(files := {_folded(candidate + ending) for ending in endings}):
            number += 1
            candidate = f"{name}_{number}"
        taken |= files
        unique.append(candidate)
    return unique


@contextlib.contextmanager
def replaced(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Replace a file atomically: the bytes written to the yielded stream become the file when the block ends without an error.

    After an error, a kill or a power failure inside the block, the file is unchanged. A killed process leaves a hidden
    temporary file in the same directory.

    Args:
        path: File to write; missing parent directories are created.
        durable: If True, flush the file to disk, so that it also survives a power failure right after the block.

    Yields:
        Binary stream to write to.

    Raises:
        OSError: The directory is not writable or the disk is full; the error names `path`.
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
        with contextlib.suppress(OSError):  # must not hide the original error
            unfinished.unlink(missing_ok=True)


def write_json(file: Path, content: dict) -> None:
    """Write a JSON file atomically; NaN and infinity become null."""
    with replaced(file) as stream:
        stream.write(json.dumps(_valid(content), indent=1, allow_nan=False).encode())


def _valid(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _valid(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_valid(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256(file: Path) -> str:
    """Hash of a file's contents, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def slug(name: str) -> str:
    """Convert a name to a single word: `val, multi-scale` becomes `val-multi-scale`."""
    return name.replace(", ", "-").replace(" ", "-").replace("/", "-")


def _folded(name: str) -> str:
    """Key that is equal for names that some file systems do not distinguish."""
    return unicodedata.normalize("NFC", name).casefold()


def _sync_directory(directory: Path) -> None:
    """Flush a directory to disk; without its entry, the bytes of a new file are lost after a power failure."""
    if sys.platform == "win32":  # cannot open directories
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
