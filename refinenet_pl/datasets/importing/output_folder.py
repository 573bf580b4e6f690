"""The folder of an imported dataset: splits that it has already, and the move of new ones to their place."""

import os
from collections.abc import Sequence
from pathlib import Path

from refinenet_pl.datasets.folder import CLASSES_FILE
from refinenet_pl.errors import DataError

KINDS = ("masks", "images")  # a split exists if its images do, so they are moved last


def find_other_splits(output: Path, splits: Sequence[str], overwrite: bool) -> bool:
    """Find splits that remain when others are written.

    Args:
        output: Folder of the dataset; may be missing.
        splits: Splits to write.
        overwrite: Accept these splits in `output`.

    Returns:
        True if `output` has other splits.

    Raises:
        DataError: `output` is not a dataset `folder` or empty, or has one of the splits.
    """
    if not os.path.lexists(output):
        return False
    if not output.is_dir():
        raise DataError(f"{output}: is a file; choose another output folder")
    if any(not path.name.startswith(".") for path in output.iterdir()) and not (output / CLASSES_FILE).exists():
        raise DataError(f"{output}: contains other files, but no {CLASSES_FILE}; choose a new or empty output folder")
    lists = [path for name in splits if (path := output / f"{name}.txt").exists()]
    if lists:
        raise DataError(f"{lists[0]}: this dataset has lists of its splits, not folders; choose another output folder")
    folders = {path.name for kind in KINDS if (output / kind).is_dir() for path in (output / kind).iterdir() if path.is_dir()}
    present = [name for name in splits if name in folders]
    if present and not overwrite:
        raise DataError(
            f"{output / 'images' / present[0]}: exists; choose another output folder, or replace it with --overwrite"
        )
    return bool(folders - set(splits))


def move(new: Path, output: Path, splits: Sequence[str], old: Path, kept: bool) -> None:
    """Move a new dataset to its place.

    Args:
        new: The dataset, on the disk of `output`.
        output: Its place. If this folder exists, the splits are moved into it.
        splits: The splits in `new`.
        old: Folder to move replaced splits to; created if there are any.
        kept: True if `output` has other splits, whose `classes.yaml` remains.

    Raises:
        OSError: A part cannot be moved; those that were moved are back in their place.
    """
    if not output.is_dir():
        new.rename(output)
        return
    parts = [f"{kind}/{split}" for split in splits for kind in KINDS] + ([] if kept else [CLASSES_FILE])
    moved: list[tuple[Path, Path]] = []
    try:
        for part in parts:
            for source, target in ((output / part, old / part), (new / part, output / part)):
                if source.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source.rename(target)
                    moved.append((source, target))
    except OSError:
        for source, target in reversed(moved):
            target.rename(source)
        raise
