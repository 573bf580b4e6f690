"""Predictions from Python: `load` a network, and call it with images."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from refinenet_pl.checkpoints.hub import local_path
from refinenet_pl.checkpoints.image_format import read_image_format
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.readers.io import read_image
from refinenet_pl.datasets.values import Values
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.errors import DataError
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.visualization.pixels import shown_pixels

ImageLike = str | Path | np.ndarray | Image.Image
"""Path of an image file, array or Pillow image.

Arrays are uint8 (height, width, 3) in RGB or, for a network of another `ImageFormat`, pixel values in its range,
(height, width) or (height, width, channels).
"""


@dataclass(frozen=True)
class Prediction:
    """Prediction of an image.

    Attributes:
        image: The image in RGB, uint8 (height, width, 3).
        meaning: Classes or values.
        mask: Class ids, integer (height, width); None for values.
        values: Float32 (height, width, channels); None for classes.
        scores: Probability of each class, float32 (classes, height, width); None for values.
    """

    image: np.ndarray
    meaning: Classes | Values
    mask: np.ndarray | None = None
    values: np.ndarray | None = None
    scores: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        """Names of the classes, by id, or of the values, by channel."""
        return list(self.meaning.names)

    def colored(self) -> Image.Image:
        """Render the classes or labels with a legend, or the values with a color bar."""
        # Imported here, because matplotlib takes a second to import, and `import refinenet_pl` imports this module.
        from refinenet_pl.visualization.color_bar import with_color_bar
        from refinenet_pl.visualization.predictions import with_legend
        from refinenet_pl.visualization.values import color_limits, colorize_values

        if isinstance(self.meaning, Classes):
            assert self.mask is not None
            return Image.fromarray(with_legend(self.meaning.colorize(self.mask), np.unique(self.mask), self.meaning))
        assert self.values is not None
        limits = color_limits(self.values, self.meaning)
        return Image.fromarray(with_color_bar(colorize_values(self.values, self.meaning, limits), limits, self.meaning))

    def overlay(self, strength: float = 0.55) -> Image.Image:
        """Blend the colors with the image; `strength` is their weight, 0 to 1."""
        from refinenet_pl.visualization.label_predictions import overlay_labels
        from refinenet_pl.visualization.predictions import overlay
        from refinenet_pl.visualization.values import colorize_values

        if isinstance(self.meaning, Classes):
            assert self.mask is not None
            colors = self.meaning.colorize(self.mask)
        else:
            assert self.values is not None
            if self.meaning.kind == "labels":
                return Image.fromarray(overlay_labels(self.image, self.values, self.meaning, strength))
            colors = colorize_values(self.values, self.meaning)
        return Image.fromarray(overlay(self.image, colors, strength))


class Predictor:
    """Network that predicts images one by one.

    Args:
        task: The task; its network is prepared for inference and cannot be trained afterwards.
        meaning: Meaning of the network's channels.
        image_format: Format of its images; None for 8-bit RGB.

    Attributes:
        names: Names of the classes or values.
    """

    def __init__(self, task: DenseTask, meaning: Classes | Values, image_format: ImageFormat | None = None):
        self.task = task
        self.meaning = meaning
        self.image_format = image_format
        self.names = list(meaning.names)
        prepare_for_inference(task.network, task.hparams["compile"])

    def __call__(self, image: ImageLike, **view: Any) -> Prediction:
        """Predict an image at its own size.

        Args:
            image: The image.
            view: Changes of the view that the network is tested with, such as `scales=(0.5, 1.0)`, `flip=True` or
                `tile=(1024, 1024)`; see `Inference` and `ValueInference`.

        Raises:
            DataError: The file cannot be read, or the image is not of the network's format.
            TypeError: The image or an argument of the view has another type.
            ValueError: An argument of the view is outside its range.
        """
        read = _pixels(image, self.image_format)
        pixels = shown_pixels(read)
        batch = torch.from_numpy(read.copy()).permute(2, 0, 1)[None].to(self.task.device)
        with torch.inference_mode():
            if isinstance(self.task, RegressionTask):
                found = self.task.predict_values(batch, replace(self.task.test_inference, **view))
                return Prediction(pixels, self.meaning, values=found[0].permute(1, 2, 0).float().cpu().numpy())
            assert isinstance(self.task, SegmentationTask)
            parts = [part for _, part in self.task.log_probabilities(batch, replace(self.task.test_inference, **view))]
            scores: Tensor = torch.cat(parts, 2)[0, : len(self.meaning)].float().exp()
        return Prediction(pixels, self.meaning, mask=scores.argmax(0).cpu().numpy(), scores=scores.cpu().numpy())


def load(source: str | Path, device: str | torch.device | None = None, compile: bool = False) -> Predictor:
    """Load a network for predictions.

    Args:
        source: A run's `last.ckpt` or `best.ckpt`, a model directory, or the id of a model on the Hugging Face Hub
            (`user/name`), which is downloaded.
        device: Device of the network; None for a GPU if there is one.
        compile: Compile the network with torch.compile.

    Raises:
        CheckpointError: The source does not exist or cannot be read.
    """
    path = local_path(str(source))
    task, meaning = load_for_prediction(path, compile)
    task.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Predictor(task, meaning, read_image_format(path))


def _pixels(image: ImageLike, format: ImageFormat | None) -> np.ndarray:
    """Read an image as uint8 (height, width, 3), or as float32 (height, width, channels) of another format."""
    if isinstance(image, (str, Path)):
        return read_image(Path(image).expanduser(), format=format)
    if format is not None:
        stored = np.asarray(image)
        return format.convert(stored[..., None] if stored.ndim == 2 else stored, "the image")
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DataError(f"the image is {pixels.dtype} {pixels.shape}; give uint8 (height, width, 3) in RGB, or a file")
    return pixels
