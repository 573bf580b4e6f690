"""Text files in the encodings of any operating system, and the sample names in them."""

import codecs
import re
import unicodedata
from collections.abc import Container, Iterator
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from refinenet_pl.errors import DataError

IMAGE_EXTENSIONS = tuple(IMG_EXTENSIONS)
"""Lowercase extensions of image files."""

ARRAY_EXTENSIONS = (".npy",)
"""Lowercase extensions of images in NumPy files."""


def encoding_of(content: bytes) -> str:
    """Detect the encoding of a text: UTF-16 if it begins with a UTF-16 byte order mark, otherwise UTF-8."""
    return "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 with a byte order mark, as PowerShell's `>` writes it.

    Returns:
        The text without byte order mark and with Unix line endings.

    Raises:
        DataError: The file is missing, unreadable or in another encoding.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; copy it from the official download") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = content.decode(encoding_of(content))
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16 without a byte order mark
        raise DataError(f"{path}: cannot be read because it is not UTF-8; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_list(path: Path, columns: int = 1) -> list[list[str]]:
    """Read a text file with one sample per line, ignoring blank lines.

    Args:
        path: Text file.
        columns: Number of words in each line.

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
        raise DataError(f"{path}: lists no images; copy it again from the official download")
    return rows


def composed(name: str) -> str:
    """Normalize a name to NFC, in which a letter and its accent are a single character; macOS stores them as two."""
    return unicodedata.normalize("NFC", name)


def read_names(path: Path) -> list[str]:
    """Read a text file with one name per line, ignoring blank lines but keeping spaces within lines.

    Raises:
        DataError: The file is missing or not text.
    """
    return [composed(line) for line in read_text(path).split("\n") if line.strip()]


def match_name(entry: str, known: Container[str]) -> str | None:
    """Match a line of a list to a known name.

    Tries the line itself and the line without an image extension, then both without leading and trailing spaces. Backslashes
    may separate folders. Dots and spaces within the line are part of the name.

    Args:
        entry: The line.
        known: Names in NFC, without extension, with folders separated by slashes.

    Returns:
        The known name; None without a match.
    """
    return next((name for name in _readings(composed(entry)) if name in known), None)


def suggest_name(entry: str, known: Container[str]) -> str:
    """Suggest a name for a line without a match that contains one, such as a path or an image-mask pair.

    Returns:
        Fix to end a message with; empty without a suggestion.
    """
    for word in dict.fromkeys([entry.strip(), *re.split(r"[\s,;]+", entry.strip())]):
        parts = word.replace("\\", "/").split("/")
        for start in range(len(parts)):
            if name := match_name("/".join(parts[start:]), known):
                return f"write '{name}' instead of '{entry.strip()}'"
    return ""


def _readings(entry: str) -> Iterator[str]:
    for line in dict.fromkeys((entry, entry.strip())):
        for path in dict.fromkeys((line, line.replace("\\", "/").removeprefix("./"))):
            yield path
            stem, dot, extension = path.rpartition(".")
            if dot + extension.lower() in IMAGE_EXTENSIONS + ARRAY_EXTENSIONS:
                yield stem
