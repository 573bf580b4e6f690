"""Number of pixels of each class in each image, for samplers that prefer images with some classes."""

import hashlib
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from refinenet_pl.cpu import cores
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.cache import Conversion, cache_folder, convert
from refinenet_pl.datasets.file_pairs import PairedDataset
from refinenet_pl.datasets.folder import CLASSES_FILE
from refinenet_pl.datasets.sample_pool import over_samples
from refinenet_pl.errors import DataError

# Images per process for which starting it is worth the time.
FEW = 100


def class_counts(dataset: SegmentationDataset) -> np.ndarray:
    """Count the pixels of each class in each image, by reading all labels, with a progress bar.

    The counts of a dataset on disk are cached in the folder `class_counts` of its conversion cache, if that is writable, and
    recomputed if a mask is newer or the dataset has other images or options.

    Returns:
        int64 (images, classes), without void.

    Raises:
        DataError: A mask cannot be read or has labels outside the classes, and the message names it; or a process died.
    """
    if not isinstance(dataset, PairedDataset):
        return _count_all(None, dataset)
    given = vars(dataset).get("cache")
    if not given and not os.access(dataset.root, os.W_OK):
        return _count_all(None, dataset)
    target = cache_folder(dataset.root, given, "class_counts") / f"{dataset.split}-{_digest(dataset)}.npy"
    sources = [*(sample.mask for sample in dataset.samples), dataset.root / CLASSES_FILE]
    existing = sources if sources[-1].exists() else sources[:-1]
    convert([Conversion(target, tuple(existing), (dataset,))], _count_all, "class counts")
    return np.load(target)


def _digest(dataset: PairedDataset) -> str:
    """Digest of all that the counts depend on but the files' content: class, options, classes, and names of the samples."""
    of_files = ("cache", "left_out")  # without effect on the counts
    values = {name: value for name, value in vars(dataset).items() if name not in of_files}
    options = {name: value for name, value in values.items() if isinstance(value, (str, int, float, tuple))}
    facts = [type(dataset).__qualname__, sorted(options.items()), dataset.classes, [sample.name for sample in dataset.samples]]
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def _count_all(first: Path | None, dataset: SegmentationDataset) -> np.ndarray:
    rows = over_samples(dataset, _count, min(cores(), len(dataset) // FEW), 8, "start again with more")
    bar = tqdm(rows, total=len(dataset), desc=f"{dataset.split}: classes of each image", unit="image", disable=None)
    return np.stack(list(bar))


def _count(dataset: SegmentationDataset, index: int) -> np.ndarray:
    if isinstance(dataset, PairedDataset) and type(dataset).read is PairedDataset.read:
        mask = dataset.read_mask(dataset.samples[index].mask)  # reading the image too would take several times as long
    else:
        mask = dataset.read(index)[1]
    labels = mask[mask != dataset.classes.ignore_index]
    if labels.size and not 0 <= labels.min() <= labels.max() < len(dataset.classes):
        raise DataError(f"{dataset.name(index)}: the mask has labels that are neither classes nor void")
    return np.bincount(labels, minlength=len(dataset.classes)).astype(np.int64)
