"""What all tests share."""

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parent.parent

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
