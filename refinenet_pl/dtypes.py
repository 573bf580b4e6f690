"""Double precision on all devices."""

import torch
from torch import Tensor

# Apple's GPUs.
_WITHOUT_FLOAT64 = ("mps",)


def float64_device(device: torch.device) -> torch.device:
    """Return the device for float64 values of a device: the device itself, or the CPU if it has no float64."""
    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device


def to_float64(tensor: Tensor) -> Tensor:
    """Convert a tensor to float64, on its device or, if that has no float64, on the CPU, so that sums are equally exact."""
    return tensor.to(float64_device(tensor.device)).double()
