"""Targets of labels in a custom dataset: one mask per label, or one file with all labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from refinenet_pl.datasets.file_pairs import Sample
from refinenet_pl.datasets.folder_pairs import find_pairs
from refinenet_pl.datasets.readers.io import read_mask_values
from refinenet_pl.datasets.readers.targets import TARGET_EXTENSIONS, read_stored
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS
from refinenet_pl.datasets.values_file import ValuesFile
from refinenet_pl.errors import DataError


class LabelFiles(NamedTuple):
    """Files of a split.

    Attributes:
        samples: The images, each with its first target.
        targets: Files of each sample: a mask for each label, or one file with all of them.
        left_out: Description of the files and folders that are ignored; empty if there are none.
    """

    samples: list[Sample]
    targets: list[tuple[Path, ...]]
    left_out: str


def find_label_files(
    root: Path, split: str, names: Sequence[str], source: str, image_extensions: tuple[str, ...] = IMAGE_EXTENSIONS
) -> LabelFiles:
    """Find the targets of a split: in a folder for each label if there is one for any label, otherwise one file per image.

    Args:
        root: Folder of the dataset, in the layouts of `find_pairs`.
        split: Name of the split.
        names: Names of the labels.
        source: Description of the layout, for errors.
        image_extensions: Extensions of the images.

    Raises:
        DataError: A folder, a list or a file is missing, or names are ambiguous.
    """
    folder = root / "targets" / split if (root / "images" / split).is_dir() else root / "targets"
    if not any((folder / name).is_dir() for name in names):
        samples, left_out = find_pairs(root, split, "target", TARGET_EXTENSIONS, source, image_extensions=image_extensions)
        return LabelFiles(samples, [(sample.mask,) for sample in samples], left_out)
    found = [find_pairs(root, split, "target", TARGET_EXTENSIONS, source, name, image_extensions) for name in names]
    # Those of the folder of images are in the description of each label.
    ignored = dict.fromkeys(part for _, left_out in found for part in left_out.split("; ") if part)
    others = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name not in names)
    if others := [name for name in others if not name.startswith(".")]:
        ignored[f"in {folder.relative_to(root)}: folders that are not named like a label ({', '.join(others)})"] = None
    # All labels have the same images in the same order, because `find_pairs` requires a target for each.
    targets = [tuple(sample.mask for sample in masks) for masks in zip(*(samples for samples, _ in found), strict=True)]
    return LabelFiles(found[0][0], targets, "; ".join(ignored))


def read_labels(paths: Sequence[Path], file: ValuesFile) -> np.ndarray:
    """Read the labels of an image.

    Args:
        paths: A mask for each label: an image of any bit depth, or a NumPy file (height, width); or one NumPy file with all
            labels, (height, width, labels) or (labels, height, width).
        file: The dataset's `values.yaml`.

    Returns:
        float32 (height, width, labels): 1 for a pixel with the label, 0 for one without it, NaN if unknown.

    Raises:
        DataError: A file is missing or damaged, has another shape than the first one, or has other numbers than 0 and those of
            `positive` and `invalid`.
    """
    names = file.values.names
    masks = [_decode(_read(path), path, file) for path in paths]
    if len(masks) == 1:
        (mask,) = masks
        if mask.shape[2] != len(names) == mask.shape[0]:
            mask = mask.transpose(1, 2, 0)
        if mask.shape[2] != len(names):
            raise DataError(
                f"{paths[0]}: has {mask.shape[2]} channels, but {file.path} names {len(names)} labels ({', '.join(names)}); "
                f"save a mask for each label in a folder {paths[0].parent.name}/LABEL, or a NumPy file (height, width, labels)"
            )
        return mask
    for path, mask in zip(paths, masks, strict=True):
        if mask.shape != (*masks[0].shape[:2], 1):
            (height, width), expected = mask.shape[:2], masks[0].shape[:2]
            raise DataError(
                f"{path}: has {width}x{height} pixels in {mask.shape[2]} channels, but {paths[0]} {expected[1]}x{expected[0]}; "
                "the masks of an image must have one channel and equal sizes"
            )
    return np.concatenate(masks, 2)


def _read(path: Path) -> np.ndarray:
    """Stored numbers (height, width, channels); an image has one channel, also if it is stored as black and white colors."""
    return read_stored(path) if path.suffix.lower() == ".npy" else read_mask_values(path)[..., None]


def _decode(stored: np.ndarray, path: Path, file: ValuesFile) -> np.ndarray:
    """Map stored numbers to 0, 1 and NaN: float32 of the same shape."""
    positive = np.isin(stored, file.positive)
    unknown = np.isnan(stored) | np.isin(stored, file.invalid)
    wrong = ~positive & ~unknown & (stored != 0)
    if wrong.any():
        example, marks = stored[wrong][0], " or ".join(f"{number:g}" for number in file.positive)
        raise DataError(
            f"{path}: {int(wrong.sum())} numbers, such as {example:g}, are neither 0 (without the label) nor {marks} (with it) "
            f"nor unknown; list them as `positive` or `invalid` in {file.path}, or save the mask without interpolation"
        )
    return np.where(unknown, np.nan, positive).astype(np.float32)
