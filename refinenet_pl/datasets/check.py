"""Integrity check: open every file of a dataset, and count the pixels of each class or summarize the values."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from refinenet_pl.cpu import cores
from refinenet_pl.datasets.base import DenseDataset, SegmentationDataset, ValueDataset
from refinenet_pl.datasets.pixel_values import PixelValues, fits_format
from refinenet_pl.datasets.sample_pool import over_samples
from refinenet_pl.errors import DataError

# Values of each channel of an image that are kept for percentiles and histograms.
KEPT_VALUES = 1000


class _Found(NamedTuple):
    """Contents of a sample.

    Attributes:
        counts: int64 (classes + 1,): pixels of each class and of void; or (channels,): known values of each channel.
        size: Height and width.
        digest: Digest of the image's pixels.
        values: float32 (channels, KEPT_VALUES): evenly spaced known values, NaN if there are fewer; None for classes.
        positive: int64 (labels,): pixels with each label; None for classes and other values.
        pixels: Pixel values; None for 8-bit RGB.
    """

    counts: np.ndarray
    size: tuple[int, int]
    digest: bytes
    values: np.ndarray | None = None
    positive: np.ndarray | None = None
    pixels: PixelValues | None = None


@dataclass
class SplitContents:
    """Contents of a split's files.

    Attributes:
        split: Name of the split.
        samples: Number of samples, including those that cannot be used.
        counts: Pixels of each class, followed by those of void, int64 (classes + 1,); or the known values of each channel,
            int64 (channels,).
        pixels: Pixels of all images.
        widths: Min and max width of the images in pixels; None if no sample can be read.
        heights: Min and max height of the images in pixels; None if no sample can be read.
        digests: Digest of each readable image, by the sample's name; equal for equal pixels.
        faults: Error message of each sample that cannot be used.
        values: Known values of each channel, up to `KEPT_VALUES` per image; empty for classes.
        positive: Pixels with each label in each readable image, int64 (images, labels); empty for classes and other values.
        pixel_values: Pixel values of the images; None for 8-bit RGB, or if no sample can be read.
    """

    split: str
    samples: int
    counts: np.ndarray
    pixels: int = 0
    widths: tuple[int, int] | None = None
    heights: tuple[int, int] | None = None
    digests: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    positive: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    pixel_values: PixelValues | None = None


def check_split(dataset: DenseDataset, workers: int | None = None) -> SplitContents:
    """Read every sample of a split in parallel, with a progress bar. Samples that cannot be used are reported in the result.

    Args:
        dataset: The split, a `SegmentationDataset` or a `ValueDataset`.
        workers: Number of processes; None for one per core.

    Raises:
        DataError: A process was killed.
    """
    number = len(dataset.classes) + 1 if isinstance(dataset, SegmentationDataset) else _channels(dataset)
    contents = SplitContents(dataset.split, len(dataset), np.zeros(number, np.int64))
    sizes, values, positive = [], [], []
    bar = tqdm(_samples(dataset, workers), total=len(dataset), desc=dataset.split, unit="image")
    for index, found in enumerate(bar):
        if isinstance(found, str):
            contents.faults.append(found)
            continue
        contents.counts += found.counts
        contents.pixels += found.size[0] * found.size[1]
        contents.digests[dataset.name(index)] = found.digest
        sizes.append(found.size)
        if found.pixels is not None:
            contents.pixel_values = found.pixels.add(contents.pixel_values)
        if found.values is not None:
            values.append(found.values)
        if found.positive is not None:
            positive.append(found.positive)
    if sizes:
        contents.heights, contents.widths = ((min(extents), max(extents)) for extents in zip(*sizes, strict=True))
    if positive:
        contents.positive = np.stack(positive)
    if values:
        contents.values = [channel[~np.isnan(channel)] for channel in np.concatenate(values, 1)]
    return contents


def shared_images(first: SplitContents, second: SplitContents) -> tuple[list[str], list[str]]:
    """Names that occur in both splits.

    Returns:
        The names whose images are equal in both, and the names of different images.
    """
    names = [name for name in first.digests if name in second.digests]
    same = [name for name in names if first.digests[name] == second.digests[name]]
    return same, sorted(set(names) - set(same))


def _samples(dataset: DenseDataset, workers: int | None) -> Iterator[str | _Found]:
    # For a handful of images, starting a process takes longer than reading them.
    workers = min(workers or cores(), len(dataset) // 8)
    # Short chunks, because the bar advances by one chunk at a time.
    return over_samples(dataset, _look, workers, 4, "use fewer (--workers)")


def _look(dataset: DenseDataset, index: int) -> str | _Found:
    """Contents of a sample, or the error message of one that cannot be used."""
    try:
        if isinstance(dataset, SegmentationDataset):
            return _look_at_classes(dataset, index)
        assert isinstance(dataset, ValueDataset)
        return _look_at_values(dataset, index)
    except DataError as error:
        return str(error)
    except Exception as error:  # raised by a dataset of another package; the next sample may be usable
        return f"{dataset.name(index)}: {type(error).__name__}: {error}"


def _look_at_classes(dataset: SegmentationDataset, index: int) -> _Found:
    image, mask = dataset.read(index)
    if not fits_format(image, dataset.image_format) or mask.ndim != 2 or image.shape[:2] != mask.shape:
        raise ValueError(f"the image is {image.dtype} {image.shape} and the mask {mask.shape}; see SegmentationDataset.read")
    height, width = mask.shape
    counts = _count(mask, len(dataset.classes), dataset.classes.ignore_index)
    return _Found(counts, (height, width), _digest(image), pixels=_pixels(image, dataset))


def _look_at_values(dataset: ValueDataset, index: int) -> _Found:
    image, target = dataset.read(index)
    channels = len(dataset.values)
    if not fits_format(image, dataset.image_format) or target.shape != (*image.shape[:2], channels):
        raise ValueError(f"the image is {image.dtype} {image.shape} and the target {target.shape}; see ValueDataset.read")
    kept = np.full((channels, KEPT_VALUES), np.nan, np.float32)
    counts = np.zeros(channels, np.int64)
    for channel in range(channels):
        known = target[..., channel][~np.isnan(target[..., channel])]
        counts[channel] = known.size
        chosen = known[np.unique(np.linspace(0, known.size - 1, KEPT_VALUES).astype(int))] if known.size else known
        kept[channel, : chosen.size] = chosen
    height, width = target.shape[:2]
    positive = (target == 1).sum((0, 1)) if dataset.values.kind == "labels" else None
    return _Found(counts, (height, width), _digest(image), kept, positive, pixels=_pixels(image, dataset))


def _pixels(image: np.ndarray, dataset: DenseDataset) -> PixelValues | None:
    return None if dataset.image_format is None else PixelValues.of(image, dataset.image_format)


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def _channels(dataset: DenseDataset) -> int:
    assert isinstance(dataset, ValueDataset)
    return len(dataset.values)


def _count(mask: np.ndarray, classes: int, void: int) -> np.ndarray:
    labels, counts = np.unique(mask, return_counts=True)
    outside = [label for label in labels.tolist() if not 0 <= label < classes and label != void]
    if outside:
        raise ValueError(f"the mask has labels that are neither classes nor void: {outside[:12]}")
    pixels = np.zeros(classes + 1, np.int64)
    pixels[np.where(labels == void, classes, labels)] = counts
    return pixels
