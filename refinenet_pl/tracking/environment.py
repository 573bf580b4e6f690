"""Source revision, package versions and device of a result."""

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "segmentation-models-pytorch", "timm")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return the entries `git` (see `git_state`), `versions` of `PACKAGES`, and `device` (see `device_name`) of a record."""
    versions = {name: version(name) for name in PACKAGES}
    return {"git": git_state(), "versions": versions, "device": device_name(device)}


def git_state() -> dict[str, Any]:
    """Return `revision` of the source tree, and `dirty`: tracked files have uncommitted changes. Both None without git."""
    here = Path(__file__).parent
    try:
        revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}
    return {"revision": revision.stdout.strip(), "dirty": bool(status.stdout.strip())}


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the number of threads of a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
