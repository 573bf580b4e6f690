"""Integrity check: open every image and mask of a dataset and count the pixels of each class."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from refinenet_pl.cpu import cores
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.errors import DataError

_Contents = tuple[np.ndarray, tuple[int, int], bytes]

# The dataset of a process of the pool; sent with each task, it would be pickled for each.
_kept: SegmentationDataset


@dataclass
class SplitContents:
    """Contents of a split's files.

    Attributes:
        split: Name of the split.
        samples: Number of samples, including those that cannot be used.
        pixels: Pixels of each class, followed by those of void: int64 (classes + 1,).
        widths: Min and max width of the images in pixels; None if no sample can be read.
        heights: Min and max height of the images in pixels; None if no sample can be read.
        digests: Digest of each readable image, by the sample's name; equal for equal pixels.
        faults: Error message of each sample that cannot be used.
    """

    split: str
    samples: int
    pixels: np.ndarray
    widths: tuple[int, int] | None = None
    heights: tuple[int, int] | None = None
    digests: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def check_split(dataset: SegmentationDataset, workers: int | None = None) -> SplitContents:
    """Read every sample of a split in parallel, with a progress bar. Samples that cannot be used are reported in the result.

    Args:
        dataset: The split.
        workers: Number of processes; None for one per core.

    Raises:
        DataError: A process was killed.
    """
    contents = SplitContents(dataset.split, len(dataset), np.zeros(len(dataset.classes) + 1, np.int64))
    shapes = []
    bar = tqdm(_samples(dataset, workers), total=len(dataset), desc=dataset.split, unit="image")
    for index, found in enumerate(bar):
        if isinstance(found, str):
            contents.faults.append(found)
            continue
        pixels, shape, contents.digests[dataset.name(index)] = found
        contents.pixels += pixels
        shapes.append(shape)
    if shapes:
        contents.heights, contents.widths = ((min(extents), max(extents)) for extents in zip(*shapes, strict=True))
    return contents


def shared_images(first: SplitContents, second: SplitContents) -> tuple[list[str], list[str]]:
    """Names that occur in both splits.

    Returns:
        The names whose images are equal in both, and the names of different images.
    """
    names = [name for name in first.digests if name in second.digests]
    same = [name for name in names if first.digests[name] == second.digests[name]]
    return same, sorted(set(names) - set(same))


def _samples(dataset: SegmentationDataset, workers: int | None) -> Iterator[str | _Contents]:
    # For a handful of images, starting a process takes longer than reading them.
    workers = min(workers or cores(), len(dataset) // 8)
    if workers <= 1:
        yield from (_look(dataset, index) for index in range(len(dataset)))
        return
    with ProcessPoolExecutor(workers, initializer=_keep, initargs=(dataset,)) as pool:
        try:
            # Short chunks, because the bar advances by one chunk at a time.
            yield from pool.map(_look_kept, range(len(dataset)), chunksize=4)
        except BrokenProcessPool:
            raise DataError(
                f"{dataset.split}: a process that reads images was killed, usually for lack of memory; use fewer (--workers)"
            ) from None


def _keep(dataset: SegmentationDataset) -> None:
    global _kept
    _kept = dataset


def _look_kept(index: int) -> str | _Contents:
    return _look(_kept, index)


def _look(dataset: SegmentationDataset, index: int) -> str | _Contents:
    """Pixels of each class, size and digest of a sample, or the error message of one that cannot be used."""
    try:
        image, mask = dataset.read(index)
        if image.dtype != np.uint8 or mask.ndim != 2 or image.shape != (*mask.shape, 3):
            raise ValueError(
                f"the image is {image.dtype} {image.shape} and the mask {mask.shape}; see SegmentationDataset.read"
            )
        height, width = mask.shape
        pixels = _count(mask, len(dataset.classes), dataset.classes.ignore_index)
    except DataError as error:
        return str(error)
    except Exception as error:  # raised by a dataset of another package; the next sample may be usable
        return f"{dataset.name(index)}: {type(error).__name__}: {error}"
    return pixels, (height, width), hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def _count(mask: np.ndarray, classes: int, void: int) -> np.ndarray:
    labels, counts = np.unique(mask, return_counts=True)
    outside = [label for label in labels.tolist() if not 0 <= label < classes and label != void]
    if outside:
        raise ValueError(f"the mask has labels that are neither classes nor void: {outside[:12]}")
    pixels = np.zeros(classes + 1, np.int64)
    pixels[np.where(labels == void, classes, labels)] = counts
    return pixels
