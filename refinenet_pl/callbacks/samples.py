"""Predictions on a few validation images, equal in all runs of a dataset."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from torch import Tensor

from refinenet_pl.callbacks.sample_files import write_samples
from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.datasets.base import DenseDataset, SegmentationDataset, ValueDataset
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.visualization.pixels import shown_pixels
from refinenet_pl.visualization.sample import MaskSample, Sample, ValueSample
from refinenet_pl.visualization.value_samples import value_sample

SAMPLES = 4
LONGEST_EDGE = 640


class SampleWriter(Callback):
    """Predicts a few images, evenly spread over the validation split, at the start of each validation during training.

    It writes their files to `samples` in the run's directory, see `write_samples`. Larger images are first downsampled to
    `LONGEST_EDGE`. If a file cannot be written, the callback warns, and training continues.

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
        assert isinstance(task, DenseTask)
        debugging = trainer.fast_dev_run  # type: ignore[attr-defined]  # Lightning sets it outside the class
        if trainer.sanity_checking or debugging or task.evaluator("val").inference.name or not can_predict(trainer):
            return
        data: DenseDataModule = trainer.datamodule
        with trainer.precision_plugin.forward_context():
            self.samples = predict_samples(task, data.validation)
        try:
            write_samples(self.folder, self.samples)
        except OSError as error:
            warnings.warn(f"the sample images could not be written: {error}", stacklevel=2)


def can_predict(trainer: Trainer) -> bool:
    """Test if one process alone can run the network; it cannot if the network is sharded over several."""
    return isinstance(trainer.strategy, (DDPStrategy, SingleDeviceStrategy))


def predict_samples(task: DenseTask, dataset: DenseDataset) -> list[Sample]:
    """Predict up to `SAMPLES` images, evenly spread over a split, downsampled to `LONGEST_EDGE`.

    Args:
        task: The task, on its device.
        dataset: The split.
    """
    indices = np.unique(np.linspace(0, len(dataset) - 1, SAMPLES + 2).round().astype(int)[1:-1]).tolist()
    if isinstance(task, SegmentationTask):
        assert isinstance(dataset, SegmentationDataset)
        return [_mask_sample(task, dataset, index) for index in indices]
    assert isinstance(task, RegressionTask)
    assert isinstance(dataset, ValueDataset)
    return [_value_sample(task, dataset, index) for index in indices]


def _mask_sample(task: SegmentationTask, dataset: SegmentationDataset, index: int) -> MaskSample:
    image, mask = dataset.read(index)
    with torch.inference_mode():
        prediction = task.predict_mask(_batch(image, task))[0].cpu().numpy()
    classes = dataset.classes
    label = np.where((mask >= 0) & (mask < len(classes)), mask, classes.ignore_index)
    return MaskSample(
        name=dataset.name(index),
        image=_smooth(image),
        label=_nearest(label.astype(np.uint8)),
        prediction=_nearest(prediction.astype(np.uint8)),
        classes=classes,
    )


def _value_sample(task: RegressionTask, dataset: ValueDataset, index: int) -> ValueSample:
    image, target = dataset.read(index)
    with torch.inference_mode():
        prediction = task.predict_values(_batch(image, task))[0].permute(1, 2, 0).float().cpu().numpy()
    return value_sample(dataset.name(index), _smooth(image), _nearest(target), _nearest(prediction), dataset.values)


def _batch(image: np.ndarray, task: DenseTask) -> Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(task.device)


def _size(pixels: np.ndarray) -> tuple[int, int]:
    """(height, width) within `LONGEST_EDGE`."""
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGEST_EDGE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _smooth(image: np.ndarray) -> np.ndarray:
    """The image in RGB, uint8 (height, width, 3), downsampled."""
    height, width = _size(image)
    return np.asarray(Image.fromarray(shown_pixels(image)).resize((width, height), Image.Resampling.LANCZOS))


def _nearest(pixels: np.ndarray) -> np.ndarray:
    """Downsample class ids or values to the pixels at the centers."""
    rows, columns = (
        ((np.arange(size) + 0.5) * full / size).astype(int) for size, full in zip(_size(pixels), pixels.shape[:2], strict=True)
    )
    found: Any = pixels[rows[:, None], columns]
    return found
