"""Class scores for whole pictures."""

import torch.nn.functional as F
from torch import Tensor, nn


def whole_image_logits(network: nn.Module, x: Tensor) -> Tensor:
    """Logits of a picture of any size, also from a network that takes only sizes divisible by its stride.

    Args:
        network: Maps float (N, C, H, W) to logits (N, classes, H, W). One of smp's says in `requires_divisible_input_shape`
            whether sizes matter to it.
        x: Float (N, C, H, W), normalised.

    Returns:
        Float (N, classes, H, W).
    """
    height, width = x.shape[-2:]
    if getattr(network, "requires_divisible_input_shape", False):
        stride = network.encoder.output_stride
        x = F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")
    return network(x)[..., :height, :width]
