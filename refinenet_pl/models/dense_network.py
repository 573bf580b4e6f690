"""The contract of a network for dense prediction, and an adapter that makes any module fit."""

from typing import Any, Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Tensor, nn

from refinenet_pl.models.encoders import IMAGENET, Normalization
from refinenet_pl.models.ops.resize import Upsampling


@runtime_checkable
class DenseNetwork(Protocol):
    """A network from images to scores of each pixel.

    Attributes:
        encoder: The part that learns at its own rate; None if the network has no such part.
        normalization: Mean and standard deviation of the input, for values in 0..1.
        upsampling: Method by which the score map becomes scores at the image's size.
    """

    encoder: nn.Module | None
    normalization: Normalization
    upsampling: Upsampling

    def __call__(self, x: Tensor) -> Tensor:
        """Scores at the size of images of any size: float (N, C, H, W), normalized -> float (N, channels, H, W)."""

    def score_map(self, x: Tensor) -> Tensor:
        """The paper's dense score map: float (N, C, H, W), normalized -> float (N, channels, h, w), any fixed fraction."""


def as_dense_network(network: nn.Module | DenseNetwork) -> DenseNetwork:
    """The network itself if it keeps the contract, else an adapter that shares its parameters.

    Args:
        network: Maps float (N, C, H, W) to scores (N, channels, H, W). If it lacks an attribute of `DenseNetwork`: no encoder,
            the normalization of ImageNet, `bilinear`. Without a `score_map`, its scores at the full size are the score map.
            One of segmentation_models_pytorch gets images padded to sizes that it accepts.
    """
    return network if isinstance(network, DenseNetwork) else _Adapter(network)


def has_score_map(network: nn.Module) -> bool:
    """Test if a network has a score map of its own, smaller than the image."""
    return hasattr(network, "score_map")


def arguments_of(network: nn.Module) -> dict[str, Any] | None:
    """Class path and arguments that build the network again; None if it does not remember them, as smp's models do."""
    if not hasattr(network, "config"):
        return None
    return {"class_path": f"{type(network).__module__}.{type(network).__qualname__}", "init_args": dict(network.config)}


class _Adapter:
    """Not a module, so that the names of the network's parameters stay as they are."""

    def __init__(self, network: nn.Module):
        self.network = network
        self.encoder: nn.Module | None = getattr(network, "encoder", None)
        self.normalization: Normalization = getattr(network, "normalization", IMAGENET)
        self.upsampling: Upsampling = getattr(network, "upsampling", "bilinear")

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if getattr(self.network, "requires_divisible_input_shape", False):  # of smp's models
            stride = self.network.encoder.output_stride
            x = F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")
        return self.network(x)[..., :height, :width]

    def score_map(self, x: Tensor) -> Tensor:
        return self.network.score_map(x) if has_score_map(self.network) else self(x)
