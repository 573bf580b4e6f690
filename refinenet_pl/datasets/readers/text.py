"""Text files as programs of any system save them, and the names in them."""

import codecs
import re
import unicodedata
from collections.abc import Container, Iterator
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from refinenet_pl.errors import DataError

IMAGE_EXTENSIONS = tuple(IMG_EXTENSIONS)
"""Extensions of images, in lower case."""


def encoding_of(content: bytes) -> str:
    """The encoding of a text: UTF-16 if it begins with the mark of that, else UTF-8, with or without a mark."""
    return "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, or UTF-16 with its mark, as PowerShell's `>` writes it.

    Returns:
        The text without a mark, its lines separated by `\\n`.

    Raises:
        DataError: The file is missing, cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; the official download holds it, is the copy complete?") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = content.decode(encoding_of(content))
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # also of UTF-16 without a mark
        raise DataError(f"{path}: cannot be read because it is not UTF-8; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_list(path: Path, columns: int = 1) -> list[list[str]]:
    """Read a text file that lists a split's samples, one a line; blank lines do not count.

    Returns:
        The words of each line.

    Raises:
        DataError: The file is missing, empty or not text, or a line has another number of words.
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        words = line.split()
        if words and len(words) != columns:
            raise DataError(f"{path}:{number}: expected {columns} word{'s' * (columns > 1)}, found {line!r}")
        if words:
            rows.append(words)
    if not rows:
        raise DataError(f"{path}: names no pictures; is the copy complete? Copy it again")
    return rows


def composed(name: str) -> str:
    """The Unicode form NFC of a name: a letter and its accent are one character, which macOS stores as two."""
    return unicodedata.normalize("NFC", name)


def read_names(path: Path) -> list[str]:
    """Read a text file with one name a line; blank lines do not count, blanks in a line are part of it.

    Raises:
        DataError: The file is missing or is not text.
    """
    return [composed(line) for line in read_text(path).split("\n") if line.strip()]


def match_name(entry: str, known: Container[str]) -> str | None:
    """Find the name that a line of a list means.

    It is the line as it is, the line without the extension of an image, or one of these without blanks at the ends. A backslash
    may separate folders. Dots and blanks within the line are part of the name.

    Args:
        entry: The line.
        known: The names, composed, without extensions, folders separated by a slash.

    Returns:
        The name; None if none is known.
    """
    return next((name for name in _readings(composed(entry)) if name in known), None)


def suggest_name(entry: str, known: Container[str]) -> str:
    """Advice for a line that means no name, but holds one: a path from elsewhere, or an image and its mask.

    Returns:
        An instruction to end a message with; empty if there is none.
    """
    for word in dict.fromkeys([entry.strip(), *re.split(r"[\s,;]+", entry.strip())]):
        parts = word.replace("\\", "/").split("/")
        for start in range(len(parts)):
            if name := match_name("/".join(parts[start:]), known):
                return f"write '{name}' in place of '{entry.strip()}'"
    return ""


def _readings(entry: str) -> Iterator[str]:
    for line in dict.fromkeys((entry, entry.strip())):
        for path in dict.fromkeys((line, line.replace("\\", "/").removeprefix("./"))):
            yield path
            stem, dot, extension = path.rpartition(".")
            if dot + extension.lower() in IMAGE_EXTENSIONS:
                yield stem
