"""Prediction of continuous values, averaged over scales, flips and tiles of an image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.datasets.values import Values
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.evaluation.tiles import Tiles, scaled_rows
from refinenet_pl.evaluation.value_tiles import predict_in_tiles
from refinenet_pl.models.dense_network import DenseNetwork

Activation = Literal["none", "softplus", "exp", "sigmoid", "unit"]
"""Mapping from the network's output to values.

`softplus` and `exp` (the network predicts logarithms) are for positive values such as depth, `sigmoid` for values in 0..1,
`unit` for unit vectors.
"""


def activate(output: Tensor, activation: Activation) -> Tensor:
    """Map the output of a network to values.

    Args:
        output: Float (N, channels, H, W).
        activation: The mapping.

    Returns:
        At least float32, of the same shape.

    Raises:
        ValueError: There is no such mapping.
    """
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    match activation:
        case "none":
            return output
        case "softplus":
            return F.softplus(output)
        case "exp":
            return output.exp()
        case "sigmoid":
            return output.sigmoid()
        case "unit":
            return F.normalize(output, dim=1)
    raise ValueError(f"activation is {activation!r}; it must be one of {', '.join(get_args(Activation))}")


@dataclass(frozen=True)
class ValueInference:
    """Views of an image whose predictions are averaged.

    Args:
        scales: Factors by which images are resized. Predicted depths are multiplied by the factor, because training divides
            the depths of scaled images by it.
        flip: Also use each scale horizontally flipped.
        tile: (height, width) of tiles, rounded up to multiples of 40, into which larger scaled images are divided; None to
            process images whole. With tiles, the memory of the network's activations does not grow with the image; that of
            the values does, because values of whole scaled images, which have few channels, are kept.
        tile_overlap: Min share of a tile that its neighbor also covers. There, values change linearly from one to the other.

    Raises:
        ValueError: A value is outside its range.
    """

    scales: Sequence[float] = (1.0,)
    flip: bool = False
    tile: tuple[int, int] | None = None
    tile_overlap: float = 0.25

    def __post_init__(self) -> None:
        # For its checks, which are the same.
        Inference(scales=self.scales, flip=self.flip, tile=self.tile, tile_overlap=self.tile_overlap)

    @property
    def name(self) -> str:
        """Name of the views, to distinguish their scores; empty for one view at scale 1."""
        parts = ["multi-scale"] if len(self.scales) > 1 else [f"scale {s:g}" for s in self.scales if s != 1.0]
        return ", ".join(parts + ["flip"] * self.flip)

    def predict(
        self,
        network: DenseNetwork,
        image: Tensor,
        normalize: Callable[[Tensor], Tensor],
        activation: Activation,
        values: Values,
    ) -> Tensor:
        """Predict values at the images' own size.

        Args:
            network: The network.
            image: uint8 or float (N, C, H, W) in 0..255.
            normalize: Maps uint8 or float (N, C, H, W) in 0..255 to the network's input.
            activation: Mapping from the network's output to values.
            values: Meaning of the values.

        Returns:
            At least float32, (N, channels, H, W). Normals are unit vectors.
        """
        image = image.as_subclass(Tensor)

        def predict(part: Tensor) -> Tensor:
            return activate(network(normalize(part)), activation)

        # One view at a time, because those of large images are large.
        views = (self._view(predict, image, values, scale, flipped) for scale in self.scales for flipped in self._flips)
        mean = reduce(torch.add, views) / (len(self.scales) * len(self._flips))
        size = image.shape[-2], image.shape[-1]
        # One whole view at scale 1 is not averaged: it is the network's own prediction.
        averaged = self.name != "" or self._tiles(size) is not None
        return F.normalize(mean, dim=1) if values.kind == "normals" and averaged else mean

    @property
    def _flips(self) -> tuple[bool, ...]:
        return (False, True)[: 1 + self.flip]

    def _tiles(self, size: tuple[int, int]) -> Tiles | None:
        """Tiles of an image of that (height, width); None if it is processed whole."""
        return None if self.tile is None else Tiles.over(size, self.tile, self.tile_overlap)

    def _view(self, predict: Callable[[Tensor], Tensor], image: Tensor, values: Values, scale: float, flipped: bool) -> Tensor:
        """Values of one view, at the image's size and not flipped."""
        size = image.shape[-2], image.shape[-1]
        scaled_size = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
        tiles = self._tiles(scaled_size)
        if tiles is not None:
            found = predict_in_tiles(predict, partial(_rows, image, scaled_size, flipped), tiles, scaled_size)
        else:
            scaled = image if scale == 1.0 else self._scaled(image, scaled_size)
            found = predict(scaled.flip(-1) if flipped else scaled)
        if flipped:
            found = values.flip(found.flip(-1))
        if scale != 1.0:
            found = F.interpolate(found, size, mode="bilinear", antialias=True)
            found = found * scale if values.kind == "depth" else found
        return found

    def _scaled(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """The image at a (height, width): float (N, 3, height, width) in 0..255."""
        if self._tiles((image.shape[-2], image.shape[-1])) is not None:
            # The image may be too large for a float copy.
            return scaled_rows(image, size, slice(0, size[0]))
        return F.interpolate(image.float(), size, mode="bilinear", antialias=True)


def _rows(image: Tensor, size: tuple[int, int], flipped: bool, rows: slice) -> Tensor:
    part = scaled_rows(image, size, rows)
    return part.flip(-1) if flipped else part
