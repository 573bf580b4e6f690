"""Prediction of continuous values, averaged over scales and flips of an image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.datasets.values import Values
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

    Attributes:
        scales: Factors by which images are resized. Predicted depths are multiplied by the factor, because training divides
            the depths of scaled images by it.
        flip: Also use each scale horizontally flipped.
    """

    scales: Sequence[float] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales are {list(self.scales)}; give one or more factors greater than 0")

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
            image: uint8 (N, 3, H, W).
            normalize: Maps uint8 or float (N, 3, H, W) in 0..255 to the network's input.
            activation: Mapping from the network's output to values.
            values: Meaning of the values.

        Returns:
            At least float32, (N, channels, H, W). Normals are unit vectors.
        """
        image = image.as_subclass(Tensor)
        views = [self._view(network, image, normalize, activation, values, s, f) for s in self.scales for f in self._flips]
        mean = torch.stack(views).mean(0)
        return F.normalize(mean, dim=1) if values.kind == "normals" and len(views) > 1 else mean

    @property
    def _flips(self) -> tuple[bool, ...]:
        return (False, True)[: 1 + self.flip]

    def _view(
        self,
        network: DenseNetwork,
        image: Tensor,
        normalize: Callable[[Tensor], Tensor],
        activation: Activation,
        values: Values,
        scale: float,
        flipped: bool,
    ) -> Tensor:
        size = image.shape[-2:]
        scaled = image
        if scale != 1.0:
            target = [max(1, round(scale * edge)) for edge in size]
            scaled = F.interpolate(image.float(), target, mode="bilinear", antialias=True)
        scaled = normalize(scaled)
        found = activate(network(scaled.flip(-1) if flipped else scaled), activation)
        if flipped:
            found = values.flip(found.flip(-1))
        if scale != 1.0:
            found = F.interpolate(found, size, mode="bilinear", antialias=True)
            found = found * scale if values.kind == "depth" else found
        return found
