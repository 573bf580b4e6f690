"""What all tests share."""

import os
import shutil
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parent.parent

TABLE = """\
title: A title
source: CVPR 2017, Table 2
claim: A claim.
reference: paper
cells:
  paper: {label: the paper}
  shallow: {label: shallow, network: {cascade: 1}}
  middle: {label: middle, network: {cascade: 2}}
published:
  nyudv2: {paper: 42.5}
"""

# The suite runs on all cores already, one worker each.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """Random weights of a test are the same each time."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def wandb_disabled(monkeypatch):
    """No test reaches for a server; those about W&B switch it on again."""
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """The real CamVid, from the environment variable CAMVID_ROOT or from data/camvid."""
    root = Path(os.environ.get("CAMVID_ROOT", REPOSITORY / "data" / "camvid"))
    if not (root / "train.txt").is_file():
        pytest.skip(f"no CamVid at {root}; set CAMVID_ROOT to its folder")
    return root


@pytest.fixture(scope="session")
def official_root() -> Path:
    """A few official files of several datasets, from the environment variable OFFICIAL_ROOT or from beside the repository."""
    root = Path(os.environ.get("OFFICIAL_ROOT", REPOSITORY.parent / "shared" / "data" / "official"))
    if not root.is_dir():
        pytest.skip(f"no official files at {root}; set OFFICIAL_ROOT to their folder")
    return root


def program(name: str, package: str) -> str:
    """The path of a program. Where it is missing the test is skipped, or fails with PROGRAMS_REQUIRED=1, as CI has it."""
    path = shutil.which(name)
    if path is None:
        problem = f"no {name}; it is in Debian's package {package}"
        pytest.fail(problem) if os.environ.get("PROGRAMS_REQUIRED") else pytest.skip(problem)
    return path


@pytest.fixture
def table_file(tmp_path) -> Path:
    """A table of three cells."""
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    return path
