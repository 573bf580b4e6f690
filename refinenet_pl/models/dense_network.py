"""Contract of a network for dense prediction, and an adapter for any other module."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Tensor, nn

from refinenet_pl.models.encoders import IMAGENET, Normalization
from refinenet_pl.models.ops.resize import Upsampling


@runtime_checkable
class DenseNetwork(Protocol):
    """Network that maps images to scores of each pixel.

    Attributes:
        encoder: The part with its own learning rate; None if the network has no such part.
        normalization: Mean and standard deviation of the input, for values in 0..1.
        upsampling: Method by which the score map is upsampled to the image's size.
    """

    encoder: nn.Module | None
    normalization: Normalization
    upsampling: Upsampling

    def __call__(self, x: Tensor) -> Tensor:
        """Predict at full size: normalized images of any size, float (N, C, H, W) -> float (N, channels, H, W)."""

    def score_map(self, x: Tensor) -> Tensor:
        """Predict the dense score map: normalized images, float (N, C, H, W) -> float (N, channels, h, w), any fixed stride."""


def as_dense_network(network: nn.Module | DenseNetwork) -> DenseNetwork:
    """Return the network itself if it satisfies the contract, otherwise an adapter that shares its parameters.

    Args:
        network: Maps float (N, C, H, W) to scores (N, channels, H, W). Defaults for missing attributes of `DenseNetwork`: no
            encoder, the normalization of ImageNet (see `Normalization.for_channels`), `bilinear`. Without `score_map`, the
            scores at full size are the score map. Networks of segmentation_models_pytorch get images padded to sizes that they
            accept.
    """
    return network if isinstance(network, DenseNetwork) else _Adapter(network)


def has_score_map(network: nn.Module) -> bool:
    """Test if a network has its own score map, smaller than the image."""
    return hasattr(network, "score_map")


def score_method(network: nn.Module) -> Callable[[nn.Module, Tensor], Any]:
    """Return `score_map` of the network's class, or else `forward`, even if the instance's method was replaced."""
    cls = type(network)
    return getattr(cls, "score_map", cls.forward)


def arguments_of(network: nn.Module) -> dict[str, Any] | None:
    """Return the class path and arguments to rebuild the network; None if it does not store them as smp's models do."""
    config = getattr(network, "config", None)
    if config is None:
        return None
    return {"class_path": f"{type(network).__module__}.{type(network).__qualname__}", "init_args": dict(config)}


class _Adapter:
    """Not a module, so that the names of the network's parameters stay the same."""

    def __init__(self, network: nn.Module):
        self.network = network
        self.encoder: nn.Module | None = getattr(network, "encoder", None)
        # smp's models store their arguments, with the number of channels, in `config`.
        arguments = getattr(network, "config", None)
        channels = arguments.get("in_channels", 3) if isinstance(arguments, Mapping) else 3
        self.normalization: Normalization = getattr(network, "normalization", IMAGENET.for_channels(channels))
        self.upsampling: Upsampling = getattr(network, "upsampling", "bilinear")
        # An attribute of smp's models.
        divisible = getattr(network, "requires_divisible_input_shape", False)
        self.divisor: int = getattr(self.encoder, "output_stride", 1) if divisible else 1

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self.divisor > 1:
            x = F.pad(x, (0, -width % self.divisor, 0, -height % self.divisor), mode="replicate")
        return self.network(x)[..., :height, :width]

    def score_map(self, x: Tensor) -> Tensor:
        return getattr(self.network, "score_map", self)(x)
