"""Splits of imported images."""

import hashlib

from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations
from refinenet_pl.errors import DataError

VAL_SHARE = 0.2


def assign_splits(annotations: Annotations, split: str | None, val_share: float | None) -> dict[str, list[AnnotatedImage]]:
    """Assign the images to splits.

    Args:
        annotations: The annotations. If they define splits, those are used.
        split: Split of all images; None to divide them into train and val.
        val_share: Share of val, in (0, 1); None for 0.2. Which images are in val depends only on their names.

    Raises:
        DataError: There are no images, or too few to divide, or an option contradicts the annotations.
    """
    images = annotations.images
    if not images:
        raise DataError(f"{annotations.source}: there are no images to import; with --unlabeled void, each needs an annotation")
    own = {image.split for image in images if image.split is not None}
    if own:
        if split is not None or val_share is not None:
            option = "--split" if split is not None else "--val_share"
            raise DataError(f"{annotations.source}: defines its splits ({', '.join(sorted(own))}); remove {option}")
        return {name: [image for image in images if image.split == name] for name in ("train", "val", "test") if name in own}
    if split is not None:
        if val_share is not None:
            raise DataError("--val_share: divides the images into train and val; remove it or --split")
        return {split: images}
    if len(images) < 2:
        raise DataError(f"{annotations.source}: a single image cannot be divided into train and val; choose one with --split")
    number = min(max(1, round(len(images) * (val_share or VAL_SHARE))), len(images) - 1)
    # Sorted by a hash, images that are added later hardly change the splits of the others.
    chosen = {id(image) for image in sorted(images, key=lambda image: _digest(image.name))[:number]}
    return {
        "train": [image for image in images if id(image) not in chosen],
        "val": [image for image in images if id(image) in chosen],
    }


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
