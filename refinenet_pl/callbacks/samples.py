"""The same few validation images of every run, with their predictions."""

import warnings
from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.files import distinct, replaced, slug
from refinenet_pl.tracking.sample import Sample

PICTURES = 4
LONGEST_EDGE = 640


class SampleWriter(Callback):
    """Predicts a few images, evenly spread over the validation split, at the start of each validation in training.

    They are written into `samples` in the run's directory as NAME-picture.jpg, NAME-label.png and NAME-prediction.png, the
    masks as class ids with the dataset's palette. Larger images are downsampled first, to `LONGEST_EDGE`. If they cannot be
    written, a warning says so, and the training continues.

    Args:
        directory: The run's.
    """

    def __init__(self, directory: Path):
        self.folder = directory / "samples"
        self.samples: list[Sample] = []

    @rank_zero_only
    def on_validation_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        # At the start, because a callback that averages weights puts the others back before a validation ends.
        # A network that is spread over processes cannot be asked by one of them alone.
        whole = isinstance(trainer.strategy, (DDPStrategy, SingleDeviceStrategy))
        if trainer.sanity_checking or trainer.fast_dev_run or task.evaluators["val"].inference.name or not whole:
            return
        dataset, classes = trainer.datamodule.validation, trainer.datamodule.classes
        indices = np.unique(np.linspace(0, len(dataset) - 1, PICTURES + 2).round().astype(int)[1:-1])
        with trainer.precision_plugin.forward_context():
            self.samples = [_predict(task, dataset, int(index), classes) for index in indices]
        try:
            write_samples(self.folder, self.samples, classes)
        except OSError as error:
            warnings.warn(f"the sample pictures could not be written: {error}", stacklevel=2)


def _predict(task: LightningModule, dataset, index: int, classes: Classes) -> Sample:
    image, mask = dataset.read(index)
    with torch.inference_mode():
        prediction = task.predict_mask(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(task.device))[0].cpu().numpy()
    scale = min(1.0, LONGEST_EDGE / max(mask.shape))
    size = tuple(max(1, round(edge * scale)) for edge in mask.shape[::-1])
    void = np.where((mask >= 0) & (mask < len(classes)), mask, classes.ignore_index)
    nearest, smooth = Image.Resampling.NEAREST, Image.Resampling.LANCZOS
    return Sample(
        name=dataset.name(index),
        picture=np.asarray(Image.fromarray(image).resize(size, smooth)),
        label=np.asarray(Image.fromarray(void.astype(np.uint8)).resize(size, nearest)),
        prediction=np.asarray(Image.fromarray(prediction.astype(np.uint8)).resize(size, nearest)),
    )


def write_samples(folder: Path, samples: list[Sample], classes: Classes) -> None:
    """Write NAME-picture.jpg, NAME-label.png and NAME-prediction.png of each sample; no two share a file."""
    palette = [channel for color in classes.palette for channel in color]
    # `a b` and `a-b` are one word.
    for sample, stem in zip(samples, distinct([slug(sample.name) for sample in samples]), strict=True):
        with replaced(folder / f"{stem}-picture.jpg") as stream:
            Image.fromarray(sample.picture).save(stream, "jpeg", quality=90)
        for kind, ids in ("label", sample.label), ("prediction", sample.prediction):
            mask = Image.fromarray(ids, "P")
            mask.putpalette(palette + [0] * (768 - len(palette)))
            with replaced(folder / f"{stem}-{kind}.png") as stream:
                mask.save(stream, "png", optimize=True)
