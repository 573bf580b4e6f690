"""The repository's root, and programs of the system."""

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def program(name: str, package: str) -> str:
    """Return the path of a program; if it is missing, skip the test, or fail it with PROGRAMS_REQUIRED=1, as in CI.

    Args:
        name: The program.
        package: Its Debian package.
    """
    path = shutil.which(name)
    if path is None:
        problem = f"no {name}; it is in the Debian package {package}"
        pytest.fail(problem) if os.environ.get("PROGRAMS_REQUIRED") else pytest.skip(problem)
    return path
