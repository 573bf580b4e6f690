"""What is compared: RefineNets, and the networks of segmentation-models-pytorch that a user would take instead."""

from collections.abc import Callable
from dataclasses import dataclass

import segmentation_models_pytorch as smp
from torch import nn

from refinenet_pl.models.refinenet import RefineNet

CLASSES = 21
LIGHT_WEIGHT = {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0}
LITE0 = "tu-tf_efficientnet_lite0"


@dataclass(frozen=True)
class Contender:
    """A network by name, built with random weights: neither speed nor memory depends on them."""

    name: str
    build: Callable[..., nn.Module]
    encoder: str
    options: dict

    def __call__(self) -> nn.Module:
        return self.build(self.encoder, encoder_weights=None, classes=CLASSES, **self.options).eval()


def _peer(name: str, encoder: str, label: str) -> Contender:
    return Contender(f"{name}, {label}", getattr(smp, name), encoder, {})


CONTENDERS = [
    Contender("RefineNet, ResNet-50", RefineNet, "resnet50", {}),
    Contender("RefineNet, ResNet-101", RefineNet, "resnet101", {}),
    Contender("Light-Weight RefineNet, ResNet-50", RefineNet, "resnet50", LIGHT_WEIGHT),
    Contender("RefineNet 32 wide, EfficientNet-Lite0", RefineNet, LITE0, {"width": 32, "deepest_width": 64}),
    *(_peer(name, "resnet50", "ResNet-50") for name in ("Unet", "FPN", "PSPNet", "DeepLabV3Plus", "UPerNet")),
    _peer("DeepLabV3Plus", "resnet101", "ResNet-101"),
    _peer("Segformer", "mit_b2", "MiT-B2"),
    _peer("FPN", LITE0, "EfficientNet-Lite0"),
]
