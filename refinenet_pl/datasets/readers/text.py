"""Text files as programs of any system save them."""

import codecs
from pathlib import Path

from refinenet_pl.errors import DataError

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


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
        text = content.decode("utf-16" if content.startswith(_UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # also of UTF-16 without a mark
        raise DataError(f"{path}: cannot be read because it is not UTF-8; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
