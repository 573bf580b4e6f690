"""Small networks, random images, and the size of tensors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from refinenet_pl.models.refinenet import RefineNet

CLASSES = 4


def tiny(encoder_name: str = "resnet18", **arguments) -> RefineNet:
    """A small RefineNet with `scaled` weights, so that an error in any part changes the logits."""
    small = {"encoder_weights": None, "classes": 3, "width": 8, "deepest_width": 16, "decoder_init": "scaled"}
    return RefineNet(encoder_name, **small | arguments)


def assert_trains(network: RefineNet, x: Tensor, unused: frozenset[str] = frozenset()) -> None:
    """Logits have the image's size, and every parameter, except the unused ones of the encoder, gets a finite gradient."""
    logits = network.train()(x)
    assert logits.shape == (len(x), 3, *x.shape[-2:])
    (logits * torch.randn_like(logits)).sum().backward()
    without = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()}
    if network.config["encoder_depth"] < 5:  # some of smp's encoders keep the stages that are not used
        without = {name for name in without if not name.startswith("encoder.")}
    assert without == unused
    assert all(next(encoder.parameters()).grad.abs().max() > 0 for encoder in network.encoders)


class Network(nn.Module):
    """One convolution, in float64 unless cast, with a window across tiles, so that tiles differ from the whole image."""

    def __init__(self, channels: int = CLASSES, stride: int = 4, upsampling: str = "bilinear"):
        super().__init__()
        self.upsampling = upsampling
        generator = torch.Generator().manual_seed(channels)
        weight = torch.randn(channels, 3, 7, 7, generator=generator, dtype=torch.float64) / 3
        self.weight, self.stride = nn.Parameter(weight), stride

    def score_map(self, x: Tensor) -> Tensor:
        return F.conv2d(x.to(self.weight.dtype), self.weight, stride=self.stride, padding=3)


def images(number: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (number, 3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


class Largest(TorchDispatchMode):
    """Size of the largest tensor that an operation returns, in bytes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.bytes = max(self.bytes, result.nbytes)
        return result
