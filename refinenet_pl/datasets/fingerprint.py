"""Description of a local copy of a dataset, by which runs can be grouped and changed copies recognized."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.datasets.cache import CACHE
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values


def describe_dataset(
    name: str, root: Path | None, options: dict[str, Any], splits: Mapping[str, DenseDataset], meaning: Classes | Values
) -> dict[str, Any]:
    """Describe the splits of a dataset that a run uses.

    Args:
        name: Name of the dataset.
        root: Folder of its files; None for a dataset without files.
        options: Further arguments of the dataset.
        splits: Opened splits by name.
        meaning: Classes or values.

    Returns:
        `name`, `root`, `options`, `samples` by split, `names` of the classes or values, number of `files` and their total
        `bytes`, and `fingerprint`: a SHA-256 hash of the options, of the names of classes or values, and of the paths and sizes
        of all files in the root. Contents of files are not read.
    """
    files = _sizes(root) if root else {}
    content = json.dumps([name, options, list(meaning.names), files], sort_keys=True, default=str)
    return {
        "name": name,
        "root": None if root is None else str(root),
        "options": options,
        "samples": {split: len(dataset) for split, dataset in splits.items()},
        "names": list(meaning.names),
        "files": len(files),
        "bytes": sum(files.values()),
        "fingerprint": hashlib.sha256(content.encode()).hexdigest(),
    }


def _sizes(root: Path) -> dict[str, int]:
    """Sizes of all files in a folder by relative path, without hidden and converted ones."""
    sizes = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != CACHE]
        for name in files:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                sizes[path.relative_to(root).as_posix()] = path.stat().st_size
    return sizes
