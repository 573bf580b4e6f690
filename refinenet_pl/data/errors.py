"""Errors about data on disk."""


class DataError(ValueError):
    """The data on disk is not what it should be; the message names the file and says what to do."""


def plain_message(error: Exception) -> str:
    """The message of an error without the traceback that torch puts before it if a data loader's process raised it."""
    return str(error).rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()
