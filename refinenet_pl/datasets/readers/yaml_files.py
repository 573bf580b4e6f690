"""Reading of YAML files that consist of keys with values."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from refinenet_pl.datasets.readers.text import read_text
from refinenet_pl.errors import DataError


def read_keys(path: Path, example: str, known: Collection[str] | None = None) -> dict[str, Any]:
    """Read a YAML file.

    Args:
        path: The file.
        example: Line of such a file, for errors.
        known: The keys that it may have; None for any.

    Raises:
        DataError: The file is missing or not YAML, does not consist of keys, or has an unknown key.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML ({error}); write for example `{example}`") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: must consist of keys with values, such as `{example}`")
    if known is not None and (unknown := [str(key) for key in content if key not in known]):
        raise DataError(f"{path}: unknown key {', '.join(unknown)}; the keys are {', '.join(known)}")
    return content
