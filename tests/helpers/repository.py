"""The checkout and the programs of the system."""

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def program(name: str, package: str) -> str:
    """The path of a program. If it is missing, the test is skipped, or fails with PROGRAMS_REQUIRED=1, as CI has it.

    Args:
        name: The program.
        package: Debian's package of it.
    """
    path = shutil.which(name)
    if path is None:
        problem = f"no {name}; it is in Debian's package {package}"
        pytest.fail(problem) if os.environ.get("PROGRAMS_REQUIRED") else pytest.skip(problem)
    return path
