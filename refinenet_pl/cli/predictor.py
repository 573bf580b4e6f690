"""Network of `predict`: device, loading, and prediction of images one by one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from tqdm import tqdm

from refinenet_pl.checkpoints.image_format import read_image_format
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.inputs import Input
from refinenet_pl.cli.options import OptionError
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.readers.io import read_image
from refinenet_pl.datasets.values import Values
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.errors import DataError
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.evaluation.value_inference import ValueInference
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.visualization.pixels import shown_pixels


class Prepared(NamedTuple):
    """A task that is ready to predict.

    Attributes:
        task: The task on its device.
        view: Scales, flips and tiles to predict with.
        meaning: Meaning of its channels.
        image_format: Format of its images; None for 8-bit RGB.
    """

    task: DenseTask
    view: Inference | ValueInference
    meaning: Classes | Values
    image_format: ImageFormat | None = None


def find_device(name: str | None) -> torch.device:
    """Find a device of this machine by name; None selects a GPU if one is available.

    Raises:
        OptionError: The device does not exist; the message lists the available ones.
    """
    devices = ["cpu"]
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is not None:
        kind = accelerator.type
        devices = [kind, *(f"{kind}:{index}" for index in range(torch.accelerator.device_count())), *devices]
    if name is not None and name not in devices:
        raise OptionError(f"--device {name}: no such device on this machine; choose from {', '.join(devices)}")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def prepare(ckpt_path: Path, device: torch.device, compile: bool | None, inference: dict[str, Any]) -> Prepared:
    """Load a task for prediction.

    Args:
        ckpt_path: A checkpoint of `refinenet fit`, or a model directory.
        device: Device to move the task to.
        compile: Compile the network with torch.compile; None uses the run's setting.
        inference: Overrides of the fields of the view of the task's test; None for no override.

    Raises:
        CheckpointError: The checkpoint is not usable.
        OptionError: An override is outside its range.
    """
    task, meaning = load_for_prediction(ckpt_path, compile)
    image_format = read_image_format(ckpt_path)
    try:
        view = replace(task.test_inference, **{name: value for name, value in inference.items() if value is not None})
    except ValueError as error:
        raise OptionError(str(error)) from error
    task.to(device)
    prepare_for_inference(task.network, task.hparams["compile"])
    return Prepared(task, view, meaning, image_format)


def predict_each(
    task: DenseTask,
    view: Inference | ValueInference,
    inputs: list[Input],
    failures: list[str],
    image_format: ImageFormat | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Predict images one by one.

    Args:
        task: The task on its device.
        view: Scales, flips and tiles to predict with.
        inputs: The images.
        failures: List to append messages to, about images that cannot be read or do not fit into memory.
        image_format: Format of the images; None for 8-bit RGB.

    Yields:
        Index, pixels in RGB (uint8, (height, width, 3)) and prediction (class ids, uint8 (height, width), or values, float32
        (height, width, channels)) of each other image.
    """
    for index, (path, _) in enumerate(tqdm(inputs, desc="predict", unit="image")):
        try:
            image = read_image(path, bool(view.tile), image_format)
            prediction = _predict(task, view, image, path)
        except DataError as error:
            failures.append(str(error))
        else:
            yield index, shown_pixels(image), prediction


def _predict(task: DenseTask, view: Inference | ValueInference, image: np.ndarray, path: Path) -> np.ndarray:
    """Predict the class ids or the values of an image; raises a DataError if it does not fit into memory."""
    try:
        with torch.inference_mode():
            batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(task.device)
            if isinstance(task, RegressionTask):
                assert isinstance(view, ValueInference)
                return task.predict_values(batch, view)[0].permute(1, 2, 0).float().cpu().numpy()
            assert isinstance(task, SegmentationTask) and isinstance(view, Inference)
            return task.predict_mask(batch, view)[0].byte().cpu().numpy()
    except FloatingPointError as error:
        raise DataError(f"{path}: {error}") from None
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not is_oom_error(error):
            raise
    garbage_collection_cuda()  # outside the except block, because the exception keeps the tensors of the failed call alive
    tile, size = view.tile, f"{image.shape[1]}x{image.shape[0]}"
    advice = f"smaller tiles than --tile {list(tile)}" if tile else "tiles, for example --tile [1024,1024]"
    raise DataError(f"{path}: an image of {size} pixels does not fit into the memory of {task.device}; predict it in {advice}")
