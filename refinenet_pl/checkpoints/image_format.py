"""Format of the images of a trained network, in its checkpoint or model directory."""

import json
from pathlib import Path
from typing import Any

import torch

from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.meaning_files import IMAGES_FILE
from refinenet_pl.errors import CheckpointError
from refinenet_pl.files import expand_path

KEY = "image_format"
"""Key of the format in a checkpoint."""


def read_image_format(path: Path) -> ImageFormat | None:
    """Read the format of the images that a network predicts, without loading the network.

    Args:
        path: A checkpoint of `refinenet fit`, or a model directory.

    Returns:
        The format; None for 8-bit RGB, and for a file that is not such a checkpoint, which `load_for_prediction` refuses.

    Raises:
        CheckpointError: The format is there, but cannot be read.
    """
    path = expand_path(path, CheckpointError)
    try:
        content = _of_directory(path / IMAGES_FILE) if path.is_dir() else _of_checkpoint(path)
        return None if content is None else ImageFormat.from_dict(content)
    except (OSError, LookupError, TypeError, ValueError) as error:
        place = path / IMAGES_FILE if path.is_dir() else f"{path}: its image format"
        raise CheckpointError(f"{place}: cannot be read ({error}); correct it, or write it again") from error


def _of_directory(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _of_checkpoint(path: Path) -> Any:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # torch raises almost any error on damaged bytes
        return None
    return checkpoint.get(KEY) if isinstance(checkpoint, dict) else None
