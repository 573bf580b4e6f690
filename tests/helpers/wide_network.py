"""A network whose outputs depend on more than one tile, and random images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 4


class Network(nn.Module):
    """One convolution, in float64 unless cast, that sees beyond a tile's edge, so that tiles differ from the whole image."""

    def __init__(self, channels: int = CLASSES, stride: int = 4, upsampling: str = "bilinear"):
        super().__init__()
        self.upsampling = upsampling
        generator = torch.Generator().manual_seed(channels)
        weight = torch.randn(channels, 3, 7, 7, generator=generator, dtype=torch.float64) / 3
        self.weight, self.stride = nn.Parameter(weight), stride

    def score_map(self, x: Tensor) -> Tensor:
        return F.conv2d(x.to(self.weight.dtype), self.weight, stride=self.stride, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.score_map(x), x.shape[-2:], mode="bilinear")


def images(number: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (number, 3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
