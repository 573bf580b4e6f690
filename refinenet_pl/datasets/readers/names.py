"""Names in lists, and the images that they mean."""

import re
import unicodedata
from collections.abc import Container, Iterator
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from refinenet_pl.datasets.readers.text import read_text

IMAGE_EXTENSIONS = tuple(IMG_EXTENSIONS)
"""Extensions of images, in lower case."""


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
