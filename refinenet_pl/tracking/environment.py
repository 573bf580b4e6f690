"""Source, packages and device that a result was computed with."""

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "segmentation-models-pytorch", "timm")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Entries of a record: `git` (see `git_state`), `versions` of the packages that matter, and `device`, its name."""
    versions = {name: version(name) for name in PACKAGES}
    return {"git": git_state(), "versions": versions, "device": device_name(device)}


def git_state() -> dict:
    """Revision of the source tree and whether tracked files had uncommitted changes; None if it is no git checkout."""
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
    """Name of a GPU, or the number of threads of a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
