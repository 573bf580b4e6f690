"""Errors that a user can fix: each message names the file or option and the fix."""

from collections.abc import Sequence


class DataError(ValueError):
    """Invalid data on disk; the message names the file and the fix."""


def plain_message(error: Exception) -> str:
    """Return an error's message without the traceback that torch prepends if a data loader worker raised it."""
    return str(error).rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()


def some(names: Sequence[str], shown: int = 5) -> str:
    """List the first names and the number of the others, such as `a, b and 3 more`."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


class CheckpointError(ValueError):
    """Unusable checkpoint; the message names it and the reason."""


class EncoderError(ValueError):
    """Unavailable encoder weights; the message names the package that provides them."""


class CatalogError(ValueError):
    """Unknown name of a recipe or table."""


class MissingPackageError(ValueError):
    """Missing optional package; the message names the extra that installs it."""
