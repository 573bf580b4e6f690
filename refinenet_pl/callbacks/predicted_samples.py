"""Predicted samples of a split, as files and loggers show them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from PIL import Image
from torch import Tensor

from refinenet_pl.datasets.base import DenseDataset, SegmentationDataset, ValueDataset
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.evaluation.value_inference import ValueInference
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.visualization.pixels import shown_pixels
from refinenet_pl.visualization.sample import MaskSample, Sample, ValueSample
from refinenet_pl.visualization.value_samples import value_sample

LONGEST_EDGE = 640


def can_predict(trainer: Trainer) -> bool:
    """Test if one process alone can run the network; it cannot if the network is sharded over several."""
    return isinstance(trainer.strategy, (DDPStrategy, SingleDeviceStrategy))


def spread(size: int, number: int) -> list[int]:
    """Choose up to `number` indices, evenly spread over `size` samples."""
    return np.unique(np.linspace(0, size - 1, number + 2).round().astype(int)[1:-1]).tolist()


def predict_samples(
    task: DenseTask, dataset: DenseDataset, indices: Sequence[int], inference: Inference | ValueInference | None = None
) -> list[Sample]:
    """Predict images of a split, and downsample them to `LONGEST_EDGE`.

    Args:
        task: The task, on its device.
        dataset: The split.
        indices: The images.
        inference: Views of the images; None for one view at scale 1.
    """
    was_training = task.training
    task.eval()  # a training that has ended leaves it in training mode
    try:
        return [_predict(task, dataset, index, inference) for index in indices]
    finally:
        task.train(was_training)


def _predict(task: DenseTask, dataset: DenseDataset, index: int, inference: Inference | ValueInference | None) -> Sample:
    if isinstance(task, SegmentationTask):
        assert isinstance(dataset, SegmentationDataset)
        assert inference is None or isinstance(inference, Inference)
        return _mask_sample(task, dataset, index, inference)
    assert isinstance(task, RegressionTask)
    assert isinstance(dataset, ValueDataset)
    assert inference is None or isinstance(inference, ValueInference)
    return _value_sample(task, dataset, index, inference)


def _mask_sample(task: SegmentationTask, dataset: SegmentationDataset, index: int, inference: Inference | None) -> MaskSample:
    image, mask = dataset.read(index)
    with torch.inference_mode():
        prediction = task.predict_mask(_batch(image, task), inference)[0].cpu().numpy()
    classes = dataset.classes
    label = np.where((mask >= 0) & (mask < len(classes)), mask, classes.ignore_index)
    return MaskSample(
        name=dataset.name(index),
        image=_smooth(image),
        label=_nearest(label.astype(np.uint8)),
        prediction=_nearest(prediction.astype(np.uint8)),
        classes=classes,
    )


def _value_sample(task: RegressionTask, dataset: ValueDataset, index: int, inference: ValueInference | None) -> ValueSample:
    image, target = dataset.read(index)
    with torch.inference_mode():
        predicted = task.predict_values(_batch(image, task), inference)[0]
    prediction = predicted.permute(1, 2, 0).float().cpu().numpy()
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
