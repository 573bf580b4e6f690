"""What all tests share."""

import os
from pathlib import Path

import pytest
import torch
from helpers.repository import REPOSITORY
from helpers.tables import TABLE

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


@pytest.fixture
def table_file(tmp_path) -> Path:
    """A table of three cells."""
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    return path
