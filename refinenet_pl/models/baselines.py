"""Baselines: smp's networks with the ImageNet weights of RefineNet's encoders, for images of any size."""

from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.base import SegmentationModel
from torch import Tensor

from refinenet_pl.models.encoders import PACKAGED, load_packaged, normalization_of, remove_unused
from refinenet_pl.models.ops import symbolic_shapes
from refinenet_pl.models.ops.resize import Upsampling, resize


class _Baseline(SegmentationModel):
    """First base class of a baseline; the second is one of smp's models.

    Removes modules that smp leaves in the encoder without using them, such as the last stages for PSPNet, see `remove_unused`.

    Args:
        encoder_name: See `build_encoder`.
        encoder_weights: See `build_encoder`.
        input_scale: Factor by which the image is resized first, as for `RefineNet`.
        **options: Other arguments of smp's model, such as `classes`.
    """

    upsampling: Upsampling = "bilinear"
    # `score_map` pads the images itself.
    requires_divisible_input_shape = False

    def __init__(
        self,
        encoder_name: str = PACKAGED[0],
        encoder_weights: str | None = "imagenet",
        input_scale: float = 1.0,
        **options: Any,
    ):
        if input_scale <= 0:
            raise ValueError(f"input_scale is {input_scale}; it must be greater than 0")
        packaged = encoder_name in PACKAGED and encoder_weights == "imagenet"
        super().__init__(encoder_name, encoder_weights=None if packaged else encoder_weights, **options)
        if packaged:
            load_packaged(self.encoder, encoder_name, options.get("in_channels", 3))
        remove_unused(self.encoder, options.get("in_channels", 3))
        self.input_scale = input_scale
        self.normalization = normalization_of(encoder_name, options.get("in_channels", 3))
        self.to(memory_format=torch.channels_last)

    def score_map(self, x: Tensor) -> Tensor:
        """Predict before upsampling: float (N, in_channels, H, W) -> (N, classes, h, w), of the scaled image's size."""
        height, width = (symbolic_shapes.times(side, self.input_scale) for side in x.shape[-2:])
        x = resize(x.contiguous(memory_format=torch.channels_last), (height, width), "bilinear")
        stride = self.encoder.output_stride
        x = F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")
        return super().forward(x)[..., :height, :width]

    def forward(self, x: Tensor) -> Tensor:
        """Predict logits for images of any size: float (N, in_channels, H, W) -> (N, classes, H, W)."""
        return resize(self.score_map(x), x.shape[-2:], "bilinear")


class DeepLabV3Plus(_Baseline, smp.DeepLabV3Plus):
    """Chen et al., "Encoder-decoder with atrous separable convolution for semantic image segmentation", ECCV 2018."""


class FPN(_Baseline, smp.FPN):
    """Kirillov et al., "Panoptic feature pyramid networks", CVPR 2019."""


class PSPNet(_Baseline, smp.PSPNet):
    """Zhao et al., "Pyramid scene parsing network", CVPR 2017."""


class Unet(_Baseline, smp.Unet):
    """Ronneberger et al., "U-Net", MICCAI 2015, with an ImageNet encoder."""
