"""Checkpoint files that survive a full disk, a kill during a write, and truncation."""

import io
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.checkpoints.image_format import KEY
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.errors import CheckpointError
from refinenet_pl.files import replaced
from refinenet_pl.tracking.identity import LAST

PREVIOUS = "previous.ckpt"


class SafeCheckpoints(TorchCheckpointIO):
    """Replaces a checkpoint as a whole or not at all, and keeps the former `last.ckpt` as `previous.ckpt`.

    Lightning's own plugin writes to the system's temporary directory, from which a file is copied, not moved, to another disk.

    Args:
        network: Class path and arguments of the network, stored in each checkpoint.
        image_format: Format of the images, stored too; None for 8-bit RGB.
    """

    def __init__(self, network: dict[str, Any], image_format: ImageFormat | None = None):
        self.content: dict[str, Any] = {"network": network}
        if image_format is not None:
            self.content[KEY] = image_format.to_dict()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint, with the descriptions of the network and of its images."""
        path, buffer = Path(path), io.BytesIO()
        # Not directly into the file, because torch hides the reason of a failed write.
        torch.save(checkpoint | self.content, buffer)
        if path.name == LAST and path.exists():
            _keep(path)
        with replaced(path) as stream:
            stream.write(buffer.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True, **kwargs: Any
    ) -> dict[str, Any]:
        """Read a checkpoint; if a `last.ckpt` cannot be read, warn and read `previous.ckpt`.

        Raises:
            CheckpointError: There is no readable checkpoint.
        """
        path = Path(path)
        try:
            checkpoint = super().load_checkpoint(path, map_location, weights_only)
            if not isinstance(checkpoint, dict) or not {"state_dict", "pytorch-lightning_version"} <= checkpoint.keys():
                raise CheckpointError(
                    f"{path}: was not written by this package's fit; import a published checkpoint first (refinenet import)"
                )
            return checkpoint
        except CheckpointError:
            raise
        except Exception as error:  # torch raises almost any error on damaged bytes
            problem = f"{path}: cannot be read as a checkpoint, it may be truncated"
            previous = path.with_name(PREVIOUS)
            if path.name == LAST and previous.exists():
                warnings.warn(f"{problem}; resuming from {previous.name}, one checkpoint earlier", stacklevel=2)
                return self.load_checkpoint(previous, map_location, weights_only)
            own = path.name in (LAST, PREVIOUS)
            fix = f"; remove {path.parent} to train again" if own else "; use another checkpoint"
            raise CheckpointError(problem + fix) from error


def resume_from(directory: Path) -> Path | None:
    """Return the checkpoint that a run in this directory resumes from; None if there is none."""
    found = any((directory / name).exists() for name in (LAST, PREVIOUS))
    return directory / LAST if found else None


@rank_zero_only
def forget_previous(directory: Path) -> None:
    """Remove `previous.ckpt`, which a finished run does not need."""
    (directory / PREVIOUS).unlink(missing_ok=True)


def _keep(last: Path) -> None:
    """Make `previous.ckpt` the current file of `last.ckpt`."""
    link = last.with_name(f".{PREVIOUS}.{os.getpid()}")
    try:
        link.unlink(missing_ok=True)
        os.link(last, link)  # a second name, so that `last.ckpt` exists at all times
        os.replace(link, last.with_name(PREVIOUS))
    except OSError:  # a file system without links
        shutil.move(last, last.with_name(PREVIOUS))
