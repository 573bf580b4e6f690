"""Objects by import path."""

import importlib
from typing import Any

from refinenet_pl.errors import CatalogError


def import_class(path: str, option: str) -> Any:
    """Import a class.

    Args:
        path: Its import path, MODULE.CLASS.
        option: Option that it is the value of, to name in the error.

    Raises:
        CatalogError: It cannot be imported.
    """
    module, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CatalogError(f"{option} {path!r}: cannot be imported ({error}); use the import path of a class") from error
