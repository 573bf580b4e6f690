"""Files of the sample images in a run's directory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values
from refinenet_pl.files import distinct, replaced, slug
from refinenet_pl.visualization.sample import MaskSample, Sample, ValueSample


def write_samples(folder: Path, samples: Sequence[Sample]) -> None:
    """Write NAME-image.jpg, NAME-label.png and NAME-prediction.png of each sample, with a distinct NAME for each.

    Masks hold class ids and have the dataset's palette. Values are colored, and have a NAME-error.png too.
    """
    # `a b` and `a-b` have the same slug.
    for sample, stem in zip(samples, distinct([slug(sample.name) for sample in samples]), strict=True):
        _save(folder / f"{stem}-image.jpg", Image.fromarray(sample.image), "jpeg", quality=90)
        for kind in ("label", "prediction"):
            image = _mask(getattr(sample, kind), sample.classes) if isinstance(sample, MaskSample) else getattr(sample, kind)
            _save(folder / f"{stem}-{kind}.png", image, "png", optimize=True)
        if isinstance(sample, ValueSample):
            _save(folder / f"{stem}-error.png", sample.error, "png", optimize=True)


def read_samples(folder: Path, meaning: Classes | Values) -> list[Sample]:
    """Read the files that `write_samples` wrote, sorted by name; empty if there are none.

    Args:
        folder: The folder.
        meaning: Classes or values of the dataset.
    """
    samples: list[Sample] = []
    for file in sorted(folder.glob("*-image.jpg")):
        name = file.name.removesuffix("-image.jpg")
        image, label, prediction = (
            np.asarray(Image.open(path)) for path in (file, folder / f"{name}-label.png", folder / f"{name}-prediction.png")
        )
        if isinstance(meaning, Classes):
            samples.append(MaskSample(name, image, label, prediction, meaning))
        else:
            samples.append(ValueSample(name, image, label, prediction, np.asarray(Image.open(folder / f"{name}-error.png"))))
    return samples


def _mask(ids: np.ndarray, classes: Classes) -> Image.Image:
    palette = [channel for color in classes.palette for channel in color]
    mask = Image.fromarray(ids, "P")
    mask.putpalette(palette + [0] * (768 - len(palette)))
    return mask


def _save(file: Path, image: Image.Image | np.ndarray, form: str, **options: Any) -> None:
    with replaced(file) as stream:
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, form, **options)
