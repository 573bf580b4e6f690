"""Errors that a user can mend: each message names the file or option and the fix."""


class DataError(ValueError):
    """The data on disk is not what it should be; the message names the file and says what to do."""


def plain_message(error: Exception) -> str:
    """The message of an error without the traceback that torch puts before it if a data loader's process raised it."""
    return str(error).rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names it and gives the reason."""


class EncoderError(ValueError):
    """An encoder's weights cannot be had; the message names the package that brings them."""


class CatalogError(ValueError):
    """No recipe or table has this name."""
