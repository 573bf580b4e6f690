"""Predictions on a few validation images, equal in all runs of a dataset."""

import warnings
from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.files import distinct, replaced, slug
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.tracking.sample import Sample

SAMPLES = 4
LONGEST_EDGE = 640


class SampleWriter(Callback):
    """Predicts a few images, evenly spread over the validation split, at the start of each validation during training.

    It writes NAME-image.jpg, NAME-label.png and NAME-prediction.png to `samples` in the run's directory; masks hold class ids
    and have the dataset's palette. Larger images are first downsampled to `LONGEST_EDGE`. If a file cannot be written, the
    callback warns, and training continues.

    Args:
        directory: Directory of the run.
    """

    def __init__(self, directory: Path):
        self.folder = directory / "samples"
        self.samples: list[Sample] = []

    @rank_zero_only
    def on_validation_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Predict and write the samples on the first process."""
        # Not at the end of a validation: a callback that averages weights restores the others before it.
        assert isinstance(task, SegmentationTask)
        debugging = trainer.fast_dev_run  # type: ignore[attr-defined]  # Lightning sets it outside the class
        # One process alone cannot run a network that is sharded over several.
        whole = isinstance(trainer.strategy, (DDPStrategy, SingleDeviceStrategy))
        if trainer.sanity_checking or debugging or task.evaluator("val").inference.name or not whole:
            return
        data: SegmentationDataModule = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it outside the class
        dataset, classes = data.validation, data.classes
        indices = np.unique(np.linspace(0, len(dataset) - 1, SAMPLES + 2).round().astype(int)[1:-1])
        with trainer.precision_plugin.forward_context():
            self.samples = [_predict(task, dataset, int(index), classes) for index in indices]
        try:
            write_samples(self.folder, self.samples, classes)
        except OSError as error:
            warnings.warn(f"the sample images could not be written: {error}", stacklevel=2)


def _predict(task: SegmentationTask, dataset: SegmentationDataset, index: int, classes: Classes) -> Sample:
    image, mask = dataset.read(index)
    with torch.inference_mode():
        prediction = task.predict_mask(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(task.device))[0].cpu().numpy()
    scale = min(1.0, LONGEST_EDGE / max(mask.shape))
    height, width = (max(1, round(edge * scale)) for edge in mask.shape)
    label = np.where((mask >= 0) & (mask < len(classes)), mask, classes.ignore_index)
    nearest, smooth = Image.Resampling.NEAREST, Image.Resampling.LANCZOS
    return Sample(
        name=dataset.name(index),
        image=np.asarray(Image.fromarray(image).resize((width, height), smooth)),
        label=np.asarray(Image.fromarray(label.astype(np.uint8)).resize((width, height), nearest)),
        prediction=np.asarray(Image.fromarray(prediction.astype(np.uint8)).resize((width, height), nearest)),
    )


def write_samples(folder: Path, samples: list[Sample], classes: Classes) -> None:
    """Write NAME-image.jpg, NAME-label.png and NAME-prediction.png of each sample, with a distinct NAME for each."""
    palette = [channel for color in classes.palette for channel in color]
    # `a b` and `a-b` have the same slug.
    for sample, stem in zip(samples, distinct([slug(sample.name) for sample in samples]), strict=True):
        with replaced(folder / f"{stem}-image.jpg") as stream:
            Image.fromarray(sample.image).save(stream, "jpeg", quality=90)
        for kind, ids in ("label", sample.label), ("prediction", sample.prediction):
            mask = Image.fromarray(ids, "P")
            mask.putpalette(palette + [0] * (768 - len(palette)))
            with replaced(folder / f"{stem}-{kind}.png") as stream:
                mask.save(stream, "png", optimize=True)


def read_samples(folder: Path) -> list[Sample]:
    """Read the files that `write_samples` wrote, sorted by name; empty if there are none."""
    samples = []
    for file in sorted(folder.glob("*-image.jpg")):
        name = file.name.removesuffix("-image.jpg")
        paths = (file, folder / f"{name}-label.png", folder / f"{name}-prediction.png")
        image, label, prediction = (np.asarray(Image.open(path)) for path in paths)
        samples.append(Sample(name, image, label, prediction))
    return samples
