"""Every image and mask of a dataset, opened and counted."""

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


@dataclass
class SplitContents:
    """Contents of a split's files.

    Attributes:
        split: Its name.
        samples: Number of samples, the bad ones among them.
        pixels: Pixels of each class, and of void at the end: int64 (classes + 1,).
        widths: Min and max width of an image in pixels; None if no sample can be read.
        heights: The same of the heights.
        digests: Digest of each image that can be read, by its name: equal for equal pixels.
        faults: The message about each sample that cannot be used.
    """

    split: str
    samples: int
    pixels: np.ndarray
    widths: tuple[int, int] | None = None
    heights: tuple[int, int] | None = None
    digests: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def check_split(dataset: SegmentationDataset, workers: int | None = None) -> SplitContents:
    """Read every sample of a split, in several processes, with a progress bar; a bad sample does not end it.

    Args:
        dataset: The split.
        workers: Number of processes; None for one a core.

    Raises:
        DataError: A process was killed from outside.
    """
    contents = SplitContents(dataset.split, len(dataset), np.zeros(len(dataset.classes) + 1, np.int64))
    shapes = []
    bar = tqdm(_samples(dataset, workers), total=len(dataset), desc=dataset.split, unit="picture")
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


def shared_pictures(first: SplitContents, second: SplitContents) -> tuple[list[str], list[str]]:
    """Names that occur in two splits.

    Returns:
        The names of images that are equal in both, and the names of different images.
    """
    names = [name for name in first.digests if name in second.digests]
    same = [name for name in names if first.digests[name] == second.digests[name]]
    return same, sorted(set(names) - set(same))


def _samples(dataset: SegmentationDataset, workers: int | None) -> Iterator[str | _Contents]:
    # For a handful of images, starting a process takes longer than its work.
    workers = min(workers or cores(), len(dataset) // 8)
    if workers <= 1:
        yield from (_look(dataset, index) for index in range(len(dataset)))
        return
    with ProcessPoolExecutor(workers, initializer=_keep, initargs=(dataset,)) as pool:
        try:
            # Short chunks, because the bar moves on a chunk at a time.
            yield from pool.map(_look_kept, range(len(dataset)), chunksize=4)
        except BrokenProcessPool:
            raise DataError(
                f"{dataset.split}: a process that reads pictures was killed, for lack of memory as a rule; read with fewer "
                "(--workers)"
            ) from None


def _keep(dataset: SegmentationDataset) -> None:
    """Take over the dataset in a process of the pool; sent with each task, it would be pickled for each."""
    global _kept
    _kept = dataset


def _look_kept(index: int) -> str | _Contents:
    return _look(_kept, index)


def _look(dataset: SegmentationDataset, index: int) -> str | _Contents:
    """The pixels of each class, the size and the digest of a sample, or the fault of one that cannot be used."""
    try:
        image, mask = dataset.read(index)
        if image.dtype != np.uint8 or image.shape != (*mask.shape, 3):
            raise ValueError(
                f"the picture is {image.dtype} {image.shape} and the mask {mask.shape}; see SegmentationDataset.read"
            )
        pixels = _count(mask, len(dataset.classes), dataset.classes.ignore_index)
    except DataError as error:
        return str(error)
    except Exception as error:  # of a dataset that is not this package's; the next sample may be right
        return f"{dataset.name(index)}: {type(error).__name__}: {error}"
    return pixels, mask.shape, hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest()


def _count(mask: np.ndarray, classes: int, void: int) -> np.ndarray:
    labels, counts = np.unique(mask, return_counts=True)
    outside = [label for label in labels.tolist() if not 0 <= label < classes and label != void]
    if outside:
        raise ValueError(f"the mask has labels that are neither classes nor void: {outside[:12]}")
    pixels = np.zeros(classes + 1, np.int64)
    pixels[np.where(labels == void, classes, labels)] = counts
    return pixels
