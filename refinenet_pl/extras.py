"""Imports of packages that only an extra of this package installs."""

from importlib import import_module
from types import ModuleType

from refinenet_pl.errors import MissingPackageError


def require(module: str, extra: str, user: str, error: type[Exception] = MissingPackageError) -> ModuleType:
    """Import a module of an extra.

    Args:
        module: Name of the module.
        extra: Name of the extra in setup.cfg.
        user: File, option or command that needs the module, to begin the message with.
        error: Exception type to raise.

    Raises:
        MissingPackageError: The module is not installed (raised as `error`).
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise error(f'{user}: {missing.name} is not installed; pip install "refinenet_pl[{extra}]"') from None
