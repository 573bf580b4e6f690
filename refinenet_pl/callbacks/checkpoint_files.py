"""Checkpoints that survive a full disk, a kill while one is written, and a file that was cut short."""

import io
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.errors import CheckpointError
from refinenet_pl.files import replaced
from refinenet_pl.tracking.identity import LAST

PREVIOUS = "previous.ckpt"


class SafeCheckpoints(TorchCheckpointIO):
    """Replaces a checkpoint as a whole or not at all, and keeps the `last.ckpt` before as `previous.ckpt`.

    Lightning's own goes through the system's temporary directory, from where a file on another disk is copied, not moved.

    Args:
        network: Class path and arguments of the network, which each checkpoint keeps.
    """

    def __init__(self, network: dict[str, Any]):
        self.network = network

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path, buffer = Path(path), io.BytesIO()
        torch.save(
            checkpoint | {"network": self.network}, buffer
        )  # not straight into the file: torch hides what went wrong with it
        if path.name == LAST and path.exists():
            _keep(path)
        with replaced(path) as stream:
            stream.write(buffer.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True, **kwargs
    ) -> dict[str, Any]:
        """Read a checkpoint; for a `last.ckpt` that cannot be read, the one before it, with a warning.

        Raises:
            CheckpointError: There is none that can be read.
        """
        path = Path(path)
        try:
            checkpoint = super().load_checkpoint(path, map_location, weights_only)
            if not isinstance(checkpoint, dict) or not {"state_dict", "pytorch-lightning_version"} <= checkpoint.keys():
                raise CheckpointError(
                    f"{path}: this package's fit did not write it; import a published checkpoint first (refinenet import)"
                )
            return checkpoint
        except CheckpointError:
            raise
        except Exception as error:  # torch lets through whatever the file's bytes lead to
            problem = f"{path}: cannot be read as a checkpoint, it may have been cut short"
            previous = path.with_name(PREVIOUS)
            if path.name == LAST and previous.exists():
                warnings.warn(f"{problem}; going on from {previous.name}, one checkpoint earlier", stacklevel=2)
                return self.load_checkpoint(previous, map_location, weights_only)
            cure = f"; remove {path.parent} to train it anew" if path.name in (LAST, PREVIOUS) else "; give another checkpoint"
            raise CheckpointError(problem + cure) from error


def resume_from(directory: Path) -> Path | None:
    """The checkpoint from which a run in this directory goes on; None where there is none."""
    found = any((directory / name).exists() for name in (LAST, PREVIOUS))
    return directory / LAST if found else None


@rank_zero_only
def forget_previous(directory: Path) -> None:
    """Remove the checkpoint before the last, which a finished run needs no more."""
    (directory / PREVIOUS).unlink(missing_ok=True)


def _keep(last: Path) -> None:
    """Make `previous.ckpt` the file that `last.ckpt` is now."""
    link = last.with_name(f".{PREVIOUS}.{os.getpid()}")
    try:
        link.unlink(missing_ok=True)
        os.link(last, link)  # both names, so that `last.ckpt` is there all the time
        os.replace(link, last.with_name(PREVIOUS))
    except OSError:  # a file system without links
        shutil.move(last, last.with_name(PREVIOUS))
