"""Errors that a user can fix: each message names the file or option and the fix."""


class DataError(ValueError):
    """Invalid data on disk; the message names the file and the fix."""


def plain_message(error: Exception) -> str:
    """Return an error's message without the traceback that torch prepends if a data loader worker raised it."""
    return str(error).rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()


class CheckpointError(ValueError):
    """Unusable checkpoint; the message names it and the reason."""


class EncoderError(ValueError):
    """Unavailable encoder weights; the message names the package that provides them."""


class CatalogError(ValueError):
    """Unknown name of a recipe or table."""


class MissingPackageError(ValueError):
    """Missing optional package; the message names the extra that installs it."""
