"""The one place where feature maps and pictures change their size."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Upsampling = Literal["bilinear", "bilinear_aligned", "bicubic"]

# `antialias` changes nothing when a map grows, but it selects the cubic kernel with a = -0.5 that MATLAB's imresize has;
# without it torch takes a = -0.75.
_ARGUMENTS = {
    "bilinear": {"mode": "bilinear", "align_corners": False},
    "bilinear_aligned": {"mode": "bilinear", "align_corners": True},
    "bicubic": {"mode": "bicubic", "align_corners": False, "antialias": True},
}


def resize(x: Tensor, size: tuple[int, int], how: Upsampling) -> Tensor:
    """Resample a batch of maps.

    Args:
        x: Float (N, C, H, W).
        size: Wanted (height, width).
        how: `bilinear` as the paper says; `bilinear_aligned` with the corner pixels' centres in place, as the PyTorch ports
            do; `bicubic` as the authors' MATLAB code does.

    Returns:
        Float (N, C, *size); `x` itself where it has that size already.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, **_ARGUMENTS[how])
