"""RefineNet: parameters, computation, arguments, and the interface of smp's models."""

import json
import random

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import assert_trains, tiny
from torch import nn

from benchmarks.memory import kept_for_backward
from refinenet_pl.models.decoder import RefineNetDecoder, initialize, wire
from refinenet_pl.models.encoders import PACKAGED
from refinenet_pl.models.ops.resize import resize
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy

LITE = PACKAGED[0]
LIGHT_WEIGHT = {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0, "head_dropout": 0.0}


def published(encoder_name: str, **arguments) -> RefineNet:
    """A network of the published width, without memory for its weights."""
    with torch.device("meta"):
        return RefineNet(encoder_name, None, **arguments)


def size(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


TOTALS = [("resnet50", {}, 99_060_309), ("resnet101", {}, 118_052_437), ("resnet152", {}, 133_696_085)]
TOTALS += [("resnet50", {"image_scales": (1.2, 0.6)}, 134_955_925), ("resnet101", {"pooling_order": "conv_pool"}, 118_052_437)]
TOTALS += [("resnet50", LIGHT_WEIGHT, 27_357_525), ("resnet101", LIGHT_WEIGHT, 46_349_653)]
TOTALS += [("resnet152", LIGHT_WEIGHT, 61_993_301), ("resnet101", {"classes": 22}, 118_054_742)]


@pytest.mark.parametrize(("encoder_name", "arguments", "parameters"), TOTALS)
def test_parameters_of_published_networks(encoder_name, arguments, parameters):
    assert size(published(encoder_name, **arguments)) == parameters


def test_parameters_of_each_part():
    network = published("resnet101")
    decoder, blocks = network.decoder, network.decoder.blocks
    assert [size(part) for part in network.children()] == [42_500_160, 75_503_872, 48_405]
    assert size(decoder.adaptations) == 13_565_952
    assert [size(blocks[0].paths[0][0]), size(blocks[1].paths[1][0])] == [4_719_104, 1_179_904]
    # The authors count the two RCUs after a block as part of that block.
    ends = [block.paths[0] for block in blocks[1:]] + [decoder.head]
    starts = [0] + [size(block.paths[0]) for block in blocks[1:]]
    regrouped = [size(block, end) - start for block, end, start in zip(blocks, ends, starts, strict=True)]
    assert regrouped == [33_032_704, 10_028_288, 9_438_464, 9_438_464]
    assert size(published("resnet101", pooling_blocks=2).decoder) == 67_246_336


WIRINGS = {
    ((1.0,), 4): [[(0, 4)], [(0, 3)], [(0, 2)], [(0, 1)]],
    ((1.0,), 2): [[(0, 4), (0, 3)], [(0, 2), (0, 1)]],
    ((1.0,), 1): [[(0, 4), (0, 3), (0, 2), (0, 1)]],
    ((1.2, 0.6), 4): [[(0, 4), (1, 4), (1, 3)], [(0, 3), (1, 2)], [(0, 2)], [(0, 1)]],
}


def score_map_in_the_authors_grouping(network: RefineNet, x, image_scales, wiring):
    """Compose the parts, which other tests compare with slow computations; a block ends with the RCUs of the path from it."""
    decoder = network.decoder
    scaled = [F.interpolate(x, size=[round(n * scale) for n in x.shape[-2:]], mode="bilinear") for scale in image_scales]
    maps = [encoder(image)[2:] for encoder, image in zip(network.encoders, scaled, strict=True)]
    refined = []
    for i, (block, taps) in enumerate(zip(decoder.blocks, wiring, strict=True)):
        for (scale, stage), adapt in zip(taps, decoder.adaptations[i], strict=True):
            refined.append(block.paths[len(refined)](adapt(maps[scale][stage - 1])))
        ends = decoder.head if i == len(wiring) - 1 else decoder.blocks[i + 1].paths[0]
        refined = [ends(block.output(block.pooling(block.fusion(refined))))]
    return network.segmentation_head(refined[0])


@pytest.mark.parametrize(("image_scales", "cascade"), WIRINGS)
@torch.no_grad()
def test_equals_the_authors_graph(image_scales, cascade):
    network, x = tiny(LITE, image_scales=image_scales, cascade=cascade).eval(), torch.randn(2, 3, 65, 97)
    nn.init.normal_(network.segmentation_head[1].weight, std=0.2)
    expected = score_map_in_the_authors_grouping(network, x, image_scales, WIRINGS[image_scales, cascade])
    assert expected.std() > 0.1
    torch.testing.assert_close(network.score_map(x), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_wiring_of_fewer_stages_and_blocks():
    for stages, cascade, numbers in (3, 4, [1, 1, 1]), (2, 4, [1, 1]), (1, 4, [1]), (4, 3, [2, 1, 1]), (3, 2, [2, 1]):
        assert [len(block) for block in wire(stages, 1, cascade)] == numbers


WIDTHS = [(1, 2, [[512, 256], [256, 256, 256]], [256, 256]), (1, 1, [[512, 256, 256, 256]], [256])]
WIDTHS += [(2, 4, [[512, 512, 256], [256, 256, 256], [256, 256], [256, 256]], [256] * 4)]


@pytest.mark.parametrize(("scales", "cascade", "paths", "widths"), WIDTHS)
def test_block_has_the_width_of_its_narrowest_path(scales, cascade, paths, widths):
    with torch.device("meta"):
        decoder = RefineNetDecoder([[256, 512, 1024, 2048]] * scales, cascade=cascade)
    assert [[path[0].conv1.in_channels for path in block.paths] for block in decoder.blocks] == paths
    assert [block.out_channels for block in decoder.blocks] == widths


CHOICES = {"encoder_name": [LITE], "in_channels": [1, 4], "encoder_depth": [3, 4], "image_scales": [(1.2, 0.6), (0.75,)]}
CHOICES |= {"cascade": [1, 2, 3], "path_rcus": [0, 1], "output_rcus": [0, 2], "head_rcus": [0, 1], "shortcut": ["relu"]}
CHOICES |= {"pooling_blocks": [0, 1, 2], "pooling_order": ["conv_pool"], "pooling_relu": [False], "width": [5]}
CHOICES |= {"kernel_size": [1, 5], "upsampling": ["bilinear_aligned", "bicubic"], "input_scale": [1.2], "deepest_width": [4]}
CHOICES |= {"dropout": [0.0, 0.2], "head_dropout": [0.0, 0.9], "decoder_init": ["published"], "decoder_norm": ["group"]}
SINGLE = [{}, {"encoder_depth": 2}, *({argument: value} for argument, values in CHOICES.items() for value in values)]
RNG = random.Random(0)
COMBINATIONS = [{a: RNG.choice(values) for a, values in CHOICES.items() if RNG.random() < 0.5} for _ in range(12)]


TRAINED = [(arguments, (65, 97)) for arguments in SINGLE + COMBINATIONS]
TRAINED += [({}, sides) for sides in ((127, 33), (181, 243), (33, 32), (64, 96))]


@pytest.mark.parametrize(("arguments", "sides"), TRAINED, ids=str)
def test_trains(arguments, sides):
    assert_trains(tiny(**arguments), torch.randn(2, arguments.get("in_channels", 3), *sides))


VALUES = [("cascade", 0), ("cascade", 5), ("encoder_depth", 1), ("encoder_depth", 6), ("kernel_size", 2), ("kernel_size", -1)]
VALUES += [(count, 0) for count in ("width", "deepest_width", "classes", "in_channels")]
VALUES += [(count, -1) for count in ("path_rcus", "output_rcus", "head_rcus", "pooling_blocks")]
VALUES += [("shortcut", "none"), ("upsampling", "nearest"), ("decoder_init", "he"), ("void_channel", "middle")]
REFUSED = [({argument: value}, f"{argument} is {value!r}; it ") for argument, value in VALUES]
REFUSED += [({"image_scales": scales}, "larger first") for scales in ((), (0.6, 1.2), (1.0, 1.0), (4, 2, 1))]
REFUSED += [({"image_scales": (1.2, -0.6)}, "greater than 0"), ({"input_scale": 0}, "input_scale 0")]
REFUSED += [({"image_scales": (1.2, 0.6), "encoder_depth": 2}, "encoder_depth"), ({"pooling_order": "conv"}, "pool_conv")]
REFUSED += [({"normalization": ((0.5,), (0.5,))}, "normalization"), ({"dropout": 1.5}, "dropout")]
REFUSED += [({"caffe_strides": True}, "caffe_strides .*'resnet18'")]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refuses_arguments_outside_their_range(arguments, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        tiny(**arguments)


RATES = [("resnet18", {}, [0, 0, 0, 0, 0.5]), ("resnet50", {}, [0.5, 0.5, 0, 0, 0.5])]
RATES += [("resnet50", {"dropout": 0.3, "head_dropout": 0.0}, [0.3, 0.3, 0, 0, 0.0])]


@pytest.mark.parametrize(("encoder_name", "arguments", "rates"), RATES)
def test_dropout_rates(encoder_name, arguments, rates):
    network = published(encoder_name, **arguments)
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == rates


def test_dropout_is_on_wide_features_and_before_the_classifier():
    channels = [8, 16, 512, 513]
    decoder = RefineNetDecoder([channels], width=4, deepest_width=8, dropout=1.0).train()
    features = [torch.randn(1, c, side, side) for c, side in zip(channels, (16, 8, 4, 2), strict=True)]
    refined = decoder([features])
    for stage, used in enumerate([True, True, True, False]):
        changed = [torch.randn_like(f) if k == stage else f for k, f in enumerate(features)]
        assert torch.equal(decoder([changed]), refined) != used
    network = tiny(head_dropout=1.0).train()
    nn.init.normal_(network.segmentation_head[1].bias)
    scores = network.score_map(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(scores, network.segmentation_head[1].bias[None, :, None, None].expand_as(scores))


def test_published_initialization():
    network = tiny(decoder_init="published", width=16, deepest_width=32)
    parameters = [p for part in (network.decoder, network.segmentation_head) for p in part.parameters()]
    weights = [p.flatten() for p in parameters if p.ndim == 4]
    assert not any(p.any() for p in parameters if p.ndim == 1)
    assert all(weight.std().item() == pytest.approx(0.01, rel=0.15) for weight in weights)
    assert torch.cat(weights).std().item() == pytest.approx(0.01, rel=0.01)
    assert abs(torch.cat(weights).mean().item()) < 1e-4


@pytest.mark.parametrize("width", [8, 48])
@torch.no_grad()
def test_scaled_initialization_preserves_the_magnitude(width):
    channels = [16, 32, 64, 128]
    decoder, head = RefineNetDecoder([channels], width=width, deepest_width=2 * width), nn.Conv2d(width, 3, 3)
    features = [[torch.randn(1, c, side, side) for c, side in zip(channels, (16, 8, 4, 2), strict=True)]]
    initialize(decoder, head, "scaled")
    assert 0.3 < decoder(features).std() < 3
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.2)
    initialize(decoder, head, "published")
    assert decoder(features).std() < 0.1


@pytest.mark.parametrize("upsampling", ["bilinear", "bilinear_aligned", "bicubic"])
@torch.no_grad()
def test_logits_are_the_upsampled_score_map(upsampling):
    network = tiny(upsampling=upsampling).eval()
    x = torch.randn(1, 3, 61, 90).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    scores, logits = network.score_map(x), network(x)
    assert scores.shape == (1, 3, 16, 23) and torch.equal(x, before)
    assert torch.equal(logits, resize(scores, (61, 90), upsampling))
    corners_kept = torch.allclose(logits[..., ::60, ::89], scores[..., ::15, ::22])
    assert corners_kept == (upsampling != "bicubic")


@torch.no_grad()
def test_input_and_image_scales():
    plain, scaled = tiny().eval(), tiny(input_scale=1.2).eval()
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 80, 100)
    assert scaled.score_map(x).shape == (1, 3, 24, 30) and scaled(x).shape == (1, 3, 80, 100)
    upsampled = F.interpolate(x, size=(96, 120), mode="bilinear", align_corners=False)
    torch.testing.assert_close(scaled.score_map(x), plain.score_map(upsampled))
    network, sizes = tiny(image_scales=(1.0, 0.5), input_scale=1.2).eval(), []
    for encoder in network.encoders:
        encoder.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[-2:])))
    network(x)
    assert sizes == [(96, 120), (48, 60)]


@torch.no_grad()
def test_caffe_strides():
    x = torch.randn(1, 3, 61, 90)
    usual, caffe = networks = [tiny("resnet50", caffe_strides=flag).eval() for flag in (False, True)]
    first = [network.encoder.layer3[0] for network in networks]
    assert [(block.conv1.stride, block.conv2.stride) for block in first] == [((1, 1), (2, 2)), ((2, 2), (1, 1))]
    caffe.load_state_dict(usual.state_dict())
    maps = [network.features(x)[0] for network in networks]
    assert [m.shape for m in maps[0]] == [m.shape for m in maps[1]]
    assert torch.equal(maps[0][0], maps[1][0])  # the first stage has no stride
    assert not torch.allclose(maps[0][1], maps[1][1])


@pytest.mark.parametrize("loss", [None, "score_map", "chunks"])
@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
def test_keeps_channels_last(upsampling, loss):
    network, other = tiny(input_scale=1.2, upsampling=upsampling).train(loss is not None), []

    def check(*values):
        maps = [value for value in values if isinstance(value, torch.Tensor) and value.ndim == 4 and value.is_floating_point()]
        other.extend(value.shape for value in maps if not value.is_contiguous(memory_format=torch.channels_last))

    def saved(tensor):
        check(tensor)
        return tensor

    for part in (*network.encoders, network.decoder, network.segmentation_head):
        for module in part.modules():
            module.register_forward_hook(lambda module, inputs, output: check(output, *inputs))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions[:-1]:  # the classifier gets its gradient from the loss
        module.register_full_backward_hook(lambda module, inputs, outputs: check(*inputs, *outputs))
    x, label = torch.randn(2, 3, 65, 97), torch.randint(3, (2, 65, 97))
    with torch.set_grad_enabled(loss is not None), torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        scores = network.score_map(x) if loss else check(network(x))
    if loss:
        full = upsampled_cross_entropy(scores, label, upsampling, None, 255)[0]
        (full if loss == "chunks" else scores.square().sum()).backward()
        assert sum(p.grad is not None and p.ndim == 4 for p in network.parameters()) > 50
    check(*network.parameters(), *[p.grad for p in network.parameters()])
    assert not other


@pytest.mark.parametrize("image_scales", [(1.0,), (1.2, 0.6)])
def test_freezes_the_encoder(image_scales):
    network = tiny(LITE, image_scales=image_scales)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for frozen in (True, False):
        (network.freeze_encoder if frozen else network.unfreeze_encoder)()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.train()(torch.randn(2, 3, 64, 64)).square().sum().backward()
        optimizer.step()
        changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
        encoder = {name for name in before if name.startswith("encoder.")}
        assert changed - encoder and changed & encoder == (set() if frozen else encoder)


SAVED = [{}, {"image_scales": (1.2, 0.6), "shortcut": "relu"}, {"aux_params": {"classes": 4}}]
SAVED += [{"encoder_name": name, "in_channels": 4} for name in ("mobilenet_v2", "mit_b0", "tu-convnext_atto")]


@pytest.mark.parametrize("arguments", SAVED, ids=str)
@torch.no_grad()
def test_saves_and_loads(arguments, tmp_path):
    network = tiny(**{"encoder_name": LITE} | arguments)
    x = torch.randn(2, arguments.get("in_channels", 3), 64, 64)
    network.train()(x)  # updates the running statistics
    network.save_pretrained(tmp_path)
    loaded = RefineNet.from_pretrained(tmp_path)
    assert not loaded.training
    torch.testing.assert_close(loaded(x), network.eval()(x), rtol=0, atol=0)


def test_saves_its_arguments_and_a_model_card(tmp_path):
    arguments = {"image_scales": [1.2, 0.6], "cascade": 2, "pooling_order": "conv_pool", "pooling_blocks": 3, "width": 6}
    tiny(LITE, **arguments).save_pretrained(tmp_path, dataset="VOC 2012", metrics={"miou": 0.5})
    config = json.loads((tmp_path / "config.json").read_text())
    assert {argument: config[argument] for argument in arguments} == arguments
    assert config["_model_class"] == "RefineNet"
    card = (tmp_path / "README.md").read_text()
    lines = ("from refinenet_pl import RefineNet", "RefineNet.from_pretrained(", "VOC 2012", '"miou": 0.5')
    assert all(line in card for line in lines) and "smp.from_pretrained" not in card


def test_loads_without_imagenet_weights(tmp_path, monkeypatch):
    tiny(LITE, encoder_weights="imagenet").save_pretrained(tmp_path)
    monkeypatch.setattr("refinenet_pl.models.encoders.load_packaged", None)
    RefineNet.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match="not callable"):
        tiny(LITE, encoder_weights="imagenet")


@pytest.mark.parametrize("image_scales", [(1.0,), (1.2, 0.6)])
def test_aux_params_add_a_second_output(image_scales):
    network = tiny(LITE, image_scales=image_scales, aux_params={"classes": 4}).eval()
    x = torch.randn(2, 3, 65, 97)
    logits, labels = network(x)
    assert (logits.shape, labels.shape) == ((2, 3, 65, 97), (2, 4))
    deepest = network.features(x)[0][-1]
    torch.testing.assert_close(labels, network.classification_head[-2](deepest.mean((2, 3))))


@pytest.mark.parametrize("shortcut", ["identity", "relu"])
def test_activation_checkpointing_saves_memory(shortcut):
    gradients, sizes = [], []
    for flag in (False, True):
        torch.manual_seed(0)
        network = tiny("tu-test_resnet", width=16, shortcut=shortcut, dropout=0.0, checkpoint_activations=flag).train()
        network.encoder.eval()
        x = torch.randn(2, 3, 96, 96)
        sizes.append(kept_for_backward(lambda network=network, x=x: network.score_map(x).square().sum(), network))
        network.score_map(x).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients)
    assert sizes[1] < 0.75 * sizes[0]
