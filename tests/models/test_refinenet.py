"""The whole network: its size, its wiring, every argument, and what smp's users expect of a model."""

import json
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from refinenet_pl.models.decoder import RefineNetDecoder, Tap, initialize, wire
from refinenet_pl.models.ops.resize import resize
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy

PACKAGED = "tu-tf_efficientnet_lite0"
LIGHT_WEIGHT = {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0, "head_dropout": 0.0}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def tiny(**arguments) -> RefineNet:
    """A small network; `scaled` weights, so that a mistake anywhere shows in the logits."""
    small = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3, "width": 8, "deepest_width": 16}
    return RefineNet(**(small | {"decoder_init": "scaled"} | arguments))


def big(encoder_name: str, **arguments) -> RefineNet:
    """A network of the published width, without memory for its weights."""
    with torch.device("meta"):
        return RefineNet(encoder_name, None, **arguments)


def size(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def assert_trains(network: RefineNet, x: torch.Tensor) -> None:
    """Logits have the picture's size, and a finite gradient reaches every parameter, the first convolution's not zero.

    Some of smp's encoders keep the stages that a smaller depth leaves unused; those alone may have no gradient.
    """
    logits = network.train()(x)
    assert logits.shape == (len(x), 3, *x.shape[-2:])
    (logits * torch.randn_like(logits)).sum().backward()
    cut = network.config["encoder_depth"] < 5
    used = {name: p for name, p in network.named_parameters() if not (cut and name.startswith("encoder.") and p.grad is None)}
    assert not [name for name, p in used.items() if p.grad is None or not p.grad.isfinite().all()]
    assert all(next(encoder.parameters()).grad.abs().max() > 0 for encoder in network.encoders)


# --- parameters -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder_name", "arguments", "parameters"),
    [
        ("resnet50", {}, 99_060_309),
        ("resnet101", {}, 118_052_437),
        ("resnet101", {"pooling_order": "conv_pool"}, 118_052_437),
        ("resnet101", {"classes": 22}, 118_054_742),
        ("resnet152", {}, 133_696_085),
        ("resnet50", LIGHT_WEIGHT, 27_357_525),
        ("resnet101", LIGHT_WEIGHT, 46_349_653),
        ("resnet152", LIGHT_WEIGHT, 61_993_301),
    ],
)
def test_parameters_as_in_the_published_networks(encoder_name, arguments, parameters):
    assert size(big(encoder_name, **arguments)) == parameters


def test_parameters_part_by_part():
    network = big("resnet101")
    decoder, blocks = network.decoder, network.decoder.blocks
    assert size(network.encoder) == 42_500_160
    assert size(decoder) == 75_503_872
    assert size(network.segmentation_head) == 48_405
    assert size(decoder.adaptations) == 13_565_952
    assert [size(blocks[0].paths[0][0]), size(blocks[1].paths[1][0])] == [4_719_104, 1_179_904]
    # The authors count the two RCUs of the path to the next block, or of the head, to the block before.
    ends = [block.paths[0] for block in blocks[1:]] + [decoder.head]
    starts = [0] + [size(block.paths[0]) for block in blocks[1:]]
    regrouped = [size(block, end) - start for block, end, start in zip(blocks, ends, starts, strict=True)]
    assert regrouped == [33_032_704, 10_028_288, 9_438_464, 9_438_464]


def test_parameters_with_two_pooling_blocks():
    assert size(big("resnet101", pooling_blocks=2).decoder) == 67_246_336


# --- the computation --------------------------------------------------------------------------------------------------------

WIRINGS = {
    ((1.0,), 4): [[(0, 4)], [(0, 3)], [(0, 2)], [(0, 1)]],
    ((1.0,), 2): [[(0, 4), (0, 3)], [(0, 2), (0, 1)]],
    ((1.0,), 1): [[(0, 4), (0, 3), (0, 2), (0, 1)]],
    ((1.2, 0.6), 4): [[(0, 4), (1, 4), (1, 3)], [(0, 3), (1, 2)], [(0, 2)], [(0, 1)]],
}


def slow_score_map(network: RefineNet, x, image_scales, wiring, order):
    """The network written out, regrouped as in the authors' code: a block ends with three RCUs, the path from it has none."""
    weights = network.decoder.state_dict()

    def conv(y, name):
        return F.conv2d(y, weights[f"{name}.weight"], weights.get(f"{name}.bias"), padding=1)

    def two_rcus(y, name, number=2):
        for k in range(number):
            y = y + conv(conv(y.clamp(min=0), f"{name}.{k}.conv1").clamp(min=0), f"{name}.{k}.conv2")
        return y

    pictures = [F.interpolate(x, size=[round(n * scale) for n in x.shape[-2:]], mode="bilinear") for scale in image_scales]
    maps = [encoder(picture)[2:] for encoder, picture in zip(network.encoders, pictures, strict=True)]
    previous = None
    for i, taps in enumerate(wiring):
        paths = [] if previous is None else [previous]
        for j, (scale, stage) in enumerate(taps):
            paths.append(two_rcus(conv(maps[scale][stage - 1], f"adaptations.{i}.{j}.1"), f"blocks.{i}.paths.{len(paths)}"))
        if len(paths) > 1:
            largest = [max(path.shape[d] for path in paths) for d in (2, 3)]
            convolved = [conv(path, f"blocks.{i}.fusion.convs.{k}") for k, path in enumerate(paths)]
            fused = sum(F.interpolate(path, size=largest, mode="bilinear", align_corners=False) for path in convolved)
        else:
            fused = paths[0]
        stages = [fused.clamp(min=0)]
        for k in range(4):
            name = f"blocks.{i}.pooling.convs.{k}"
            pool_first = conv(F.max_pool2d(stages[-1], 5, 1, 2), name)
            stages.append(pool_first if order == "pool_conv" else F.max_pool2d(conv(stages[-1], name), 5, 1, 2))
        ended = two_rcus(sum(stages), f"blocks.{i}.output", number=1)
        previous = two_rcus(ended, "head" if i == len(wiring) - 1 else f"blocks.{i + 1}.paths.0")
    classifier = network.segmentation_head[1]
    return F.conv2d(previous, classifier.weight, classifier.bias, padding=1)


@pytest.mark.parametrize("order", ["pool_conv", "conv_pool"])
@pytest.mark.parametrize(("image_scales", "cascade"), WIRINGS)
@torch.no_grad()
def test_network_equals_the_authors_graph_written_out(image_scales, cascade, order):
    network = tiny(encoder_name=PACKAGED, image_scales=image_scales, cascade=cascade, pooling_order=order).eval()
    for module in network.decoder.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias)
    nn.init.normal_(network.segmentation_head[1].weight, std=0.2)
    x = torch.randn(2, 3, 65, 97)
    expected = slow_score_map(network, x, image_scales, WIRINGS[image_scales, cascade], order)
    assert expected.std() > 0.1
    torch.testing.assert_close(network.score_map(x), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize(("image_scales", "cascade"), WIRINGS)
def test_wiring(image_scales, cascade):
    wiring = wire(4, len(image_scales), cascade)
    assert wiring == [[Tap(*tap) for tap in block] for block in WIRINGS[image_scales, cascade]]


def test_two_scales_make_seven_paths_and_share_no_weights():
    network = big("resnet50", image_scales=(1.2, 0.6))
    assert sum(len(block) for block in network.decoder.adaptations) == 7
    assert size(network.encoder) == 2 * 23_508_032


@pytest.mark.parametrize(
    ("stages", "cascade", "taps"), [(3, 4, [1, 1, 1]), (2, 4, [1, 1]), (1, 4, [1]), (4, 3, [2, 1, 1]), (3, 2, [2, 1])]
)
def test_no_more_blocks_than_stages(stages, cascade, taps):
    assert [len(block) for block in wire(stages, 1, cascade)] == taps


@pytest.mark.parametrize(
    ("scales", "cascade", "paths", "widths"),
    [
        (1, 4, [[512], [512, 256], [256, 256], [256, 256]], [512, 256, 256, 256]),
        (1, 2, [[512, 256], [256, 256, 256]], [256, 256]),
        (1, 1, [[512, 256, 256, 256]], [256]),
        (2, 4, [[512, 512, 256], [256, 256, 256], [256, 256], [256, 256]], [256] * 4),
    ],
)
def test_block_is_as_wide_as_its_narrowest_path(scales, cascade, paths, widths):
    with torch.device("meta"):
        decoder = RefineNetDecoder([[256, 512, 1024, 2048]] * scales, cascade=cascade)
    assert [[path[0].conv1.in_channels for path in block.paths] for block in decoder.blocks] == paths
    assert [block.out_channels for block in decoder.blocks] == widths


@pytest.mark.parametrize("sides", [(65, 97), (127, 33), (181, 243), (33, 32), (64, 96)])
def test_any_size_trains(sides):
    assert_trains(tiny(), torch.randn(2, 3, *sides))


def test_input_is_not_changed_by_the_network():
    x = torch.randn(1, 3, 65, 97).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    tiny().eval()(x)
    assert torch.equal(x, before)


# --- arguments --------------------------------------------------------------------------------------------------------------

CHOICES = {
    "encoder_name": [PACKAGED],
    "in_channels": [1, 4],
    "encoder_depth": [2, 3, 4],
    "cascade": [1, 2, 3],
    "image_scales": [(1.2, 0.6), (0.75,)],
    "width": [5],
    "deepest_width": [4],
    "path_rcus": [0, 1],
    "output_rcus": [0, 2],
    "head_rcus": [0, 1],
    "pooling_blocks": [0, 1, 2],
    "pooling_order": ["conv_pool"],
    "pooling_relu": [False],
    "shortcut": ["relu"],
    "kernel_size": [1, 5],
    "upsampling": ["bilinear_aligned", "bicubic"],
    "dropout": [0.0, 0.2],
    "head_dropout": [0.0, 0.9],
    "input_scale": [1.2],
    "decoder_init": ["published"],
}
ALONE = [{argument: value} for argument, values in CHOICES.items() for value in values]


def combinations(number: int) -> list[dict]:
    """Random combinations, each with about half of the arguments changed."""
    draw = random.Random(0)
    drawn = [{a: draw.choice(values) for a, values in CHOICES.items() if draw.random() < 0.5} for _ in range(number)]
    # Two scales need features below 1/4.
    return [
        d | {"encoder_depth": max(3, d.get("encoder_depth", 5))} if len(d.get("image_scales", ())) == 2 else d for d in drawn
    ]


def name_of(arguments: dict) -> str:
    return "-".join(f"{argument}={value}" for argument, value in arguments.items()) if len(arguments) < 3 else "combination"


@pytest.mark.parametrize("arguments", ALONE + combinations(12), ids=name_of)
def test_arguments_train(arguments):
    assert_trains(tiny(**arguments), torch.randn(2, arguments.get("in_channels", 3), 65, 97))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cascade": 0}, "cascade is 0"),
        ({"cascade": 5}, "cascade is 5"),
        ({"encoder_depth": 1}, "encoder_depth is 1"),
        ({"encoder_depth": 6}, "encoder_depth is 6"),
        ({"kernel_size": 2}, "kernel_size is 2"),
        ({"kernel_size": -1}, "kernel_size is -1"),
        ({"image_scales": ()}, "image_scales is"),
        ({"image_scales": (0.6, 1.2)}, "larger first"),
        ({"image_scales": (1.0, 1.0)}, "larger first"),
        ({"image_scales": (4, 2, 1)}, "one scale, or two"),
        ({"image_scales": (1.2, -0.6)}, "greater than 0"),
        ({"image_scales": (1.2, 0.6), "encoder_depth": 2}, "two image_scales need at least 3"),
        ({"input_scale": 0}, "input_scale 0"),
        ({"width": 0}, "width is 0"),
        ({"deepest_width": 0}, "deepest_width is 0"),
        ({"classes": 0}, "classes is 0"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"path_rcus": -1}, "path_rcus is -1"),
        ({"output_rcus": -1}, "output_rcus is -1"),
        ({"head_rcus": -1}, "head_rcus is -1"),
        ({"pooling_blocks": -1}, "pooling_blocks is -1"),
        ({"pooling_order": "conv"}, "pooling_order is 'conv'; it can be 'pool_conv' or 'conv_pool'"),
        ({"shortcut": "none"}, "shortcut is 'none'"),
        ({"upsampling": "nearest"}, "upsampling is 'nearest'"),
        ({"decoder_init": "he"}, "decoder_init is 'he'"),
        ({"dropout": 1.5}, "dropout"),
        ({"caffe_strides": True}, "caffe_strides .* not for 'resnet18'"),
    ],
    ids=lambda value: name_of(value) if isinstance(value, dict) else "",
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        tiny(**arguments)


@pytest.mark.parametrize(
    ("arguments", "taps", "head"),
    [
        ({"encoder_name": "resnet50"}, [0.5, 0.5, 0, 0], 0.5),
        ({"encoder_name": "resnet50", "dropout": 0.3}, [0.3, 0.3, 0, 0], 0.3),
        ({"encoder_name": "resnet50", "dropout": 0.3, "head_dropout": 0.0}, [0.3, 0.3, 0, 0], 0.0),
        ({"encoder_name": "resnet18"}, [0, 0, 0, 0], 0.5),
    ],
)
def test_dropout_is_on_wide_features_and_before_the_classifier(arguments, taps, head):
    with torch.device("meta"):
        network = tiny(**arguments)
    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert rates == [*taps, head]


def test_dropout_takes_the_wide_features_away_in_training():
    channels = [8, 16, 512, 513]
    decoder = RefineNetDecoder([channels], width=4, deepest_width=8, dropout=1.0).train()
    features = [torch.randn(1, c, side, side) for c, side in zip(channels, (16, 8, 4, 2), strict=True)]
    refined = decoder([features])
    for stage, heard in enumerate([True, True, True, False]):
        changed = [torch.randn_like(f) if k == stage else f for k, f in enumerate(features)]
        assert torch.equal(decoder([changed]), refined) != heard


def test_dropout_before_the_classifier_leaves_its_bias():
    network = tiny(head_dropout=1.0).train()
    nn.init.normal_(network.segmentation_head[1].bias)
    scores = network.score_map(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(scores, network.segmentation_head[1].bias[None, :, None, None].expand_as(scores))


def test_published_weights_have_a_deviation_of_a_hundredth():
    network = tiny(decoder_init="published", width=16, deepest_width=32)
    convolutions = [
        m for part in (network.decoder, network.segmentation_head) for m in part.modules() if isinstance(m, nn.Conv2d)
    ]
    for convolution in convolutions:
        assert convolution.weight.std().item() == pytest.approx(0.01, rel=0.15)
        assert convolution.bias is None or not convolution.bias.any()
    everything = torch.cat([convolution.weight.flatten() for convolution in convolutions])
    assert everything.std().item() == pytest.approx(0.01, rel=0.01)
    assert abs(everything.mean().item()) < 1e-4


@pytest.mark.parametrize("width", [8, 48])
@torch.no_grad()
def test_scaled_weights_keep_the_size_of_a_signal_at_any_width(width):
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
def test_logits_are_the_score_map_enlarged(upsampling):
    network = tiny(upsampling=upsampling).eval()
    x = torch.randn(1, 3, 61, 90)
    scores, logits = network.score_map(x), network(x)
    assert scores.shape == (1, 3, 16, 23)
    assert torch.equal(logits, resize(scores, (61, 90), upsampling))
    corners_kept = torch.allclose(logits[..., ::60, ::89], scores[..., ::15, ::22])
    assert corners_kept == (upsampling != "bicubic")


@torch.no_grad()
def test_input_scale_enlarges_the_picture_before_everything():
    plain, enlarging = tiny().eval(), tiny(input_scale=1.2).eval()
    enlarging.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 80, 100)
    assert enlarging.score_map(x).shape == (1, 3, 24, 30)
    assert enlarging(x).shape == (1, 3, 80, 100)
    enlarged = F.interpolate(x, size=(96, 120), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarging.score_map(x), plain.score_map(enlarged))


@torch.no_grad()
def test_image_scales_multiply_the_input_scale():
    network = tiny(image_scales=(1.0, 0.5), input_scale=1.2).eval()
    sizes = []
    for encoder in network.encoders:
        encoder.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[-2:])))
    network(torch.randn(1, 3, 80, 100))
    assert sizes == [(96, 120), (48, 60)]


@torch.no_grad()
def test_caffe_strides_move_the_strides_and_keep_the_sizes():
    x = torch.randn(1, 3, 61, 90)
    usual, caffe = (tiny(encoder_name="resnet50", caffe_strides=flag).eval() for flag in (False, True))
    first = {flag: network.encoder.layer3[0] for flag, network in (("usual", usual), ("caffe", caffe))}
    assert (first["usual"].conv1.stride, first["usual"].conv2.stride) == ((1, 1), (2, 2))
    assert (first["caffe"].conv1.stride, first["caffe"].conv2.stride) == ((2, 2), (1, 1))
    caffe.load_state_dict(usual.state_dict())
    maps = [network.features(x)[0] for network in (usual, caffe)]
    assert [m.shape for m in maps[0]] == [m.shape for m in maps[1]]
    assert torch.equal(maps[0][0], maps[1][0])  # the first stage has no stride
    assert not torch.allclose(maps[0][1], maps[1][1])


@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
@torch.no_grad()
def test_channels_last_is_kept_to_the_logits(upsampling):
    network = tiny(input_scale=1.2, upsampling=upsampling).eval()
    other = []

    def look(module, inputs, output):
        maps = [*inputs, output] if isinstance(output, torch.Tensor) else inputs
        for value in maps:
            if isinstance(value, torch.Tensor) and not value.is_contiguous(memory_format=torch.channels_last):
                other.append(module)

    for part in (*network.encoders, network.decoder, network.segmentation_head):
        for module in part.modules():
            module.register_forward_hook(look)
    logits = network(torch.randn(2, 3, 65, 97))
    assert not other
    assert logits.is_contiguous(memory_format=torch.channels_last)
    weights = [p for p in network.parameters() if p.dim() == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize("loss", ["scores", "strips"])
def test_channels_last_is_kept_in_training(loss):
    network = tiny(dropout=0.5, encoder_weights=None).train()
    other = []

    def look(module, found, expected):
        for value in (*found, *expected):
            if value is not None and value.dim() == 4 and not value.is_contiguous(memory_format=torch.channels_last):
                other.append((module, value.shape, value.stride()))

    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    for module in convolutions[:-1]:  # what reaches the classifier is as the loss has it
        module.register_full_backward_hook(look)

    def kept(tensor):
        if tensor.dim() == 4 and tensor.is_floating_point() and not tensor.is_contiguous(memory_format=torch.channels_last):
            other.append(("kept", tensor.shape, tensor.stride()))
        return tensor

    x, label = torch.randn(2, 3, 65, 97), torch.randint(3, (2, 65, 97))
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        scores = network.score_map(x)
    if loss == "strips":
        upsampled_cross_entropy(scores, label, "bilinear", None, 255)[0].backward()
    else:
        scores.square().sum().backward()
    assert not other
    weights = [p for p in network.parameters() if p.dim() == 4 and p.grad is not None]
    assert len(weights) > 50 and all(w.grad.is_contiguous(memory_format=torch.channels_last) for w in weights)


# --- what smp's users expect ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_scales", [(1.0,), (1.2, 0.6)])
def test_frozen_encoders_do_not_move(image_scales):
    network = tiny(encoder_name=PACKAGED, image_scales=image_scales)
    x = torch.randn(2, 3, 64, 64)
    for frozen in (True, False):
        if frozen:
            network.freeze_encoder()
        else:
            network.unfreeze_encoder()
        network.train()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network(x).square().sum().backward()
        torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.01).step()
        moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
        assert any(name.startswith("decoder.") for name in moved)
        assert {name for name in moved if name.startswith("encoder.")} == (set() if frozen else encoder_tensors(before))


def encoder_tensors(state: dict) -> set[str]:
    return {name for name in state if name.startswith("encoder.")}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"image_scales": (1.2, 0.6), "upsampling": "bicubic"},
        {"image_scales": [1.2, 0.6], "shortcut": "relu", "cascade": 2},
        {"aux_params": {"classes": 4, "dropout": 0.2}},
    ],
    ids=name_of,
)
@torch.no_grad()
def test_saved_network_comes_back_with_the_same_logits(arguments, tmp_path):
    network = tiny(encoder_name=PACKAGED, **arguments)
    network.train()(torch.randn(2, 3, 64, 64))  # moves the moments of batch normalisation away from their start
    network.save_pretrained(tmp_path)
    loaded = RefineNet.from_pretrained(tmp_path)
    assert not loaded.training
    x = torch.randn(1, 3, 65, 97)
    torch.testing.assert_close(loaded(x), network.eval()(x), rtol=0, atol=0)
    assert loaded.scales == network.scales


def test_saved_config_says_the_arguments(tmp_path):
    arguments = {"image_scales": [1.2, 0.6], "cascade": 2, "pooling_order": "conv_pool", "pooling_blocks": 3, "width": 6}
    tiny(encoder_name=PACKAGED, **arguments).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert {argument: config[argument] for argument in arguments} == arguments
    assert config["_model_class"] == "RefineNet"


def test_loading_leaves_the_imagenet_weights_alone(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("ImageNet weights were loaded")

    tiny(encoder_name=PACKAGED, encoder_weights="imagenet").save_pretrained(tmp_path)
    monkeypatch.setattr("refinenet_pl.models.encoders.load_packaged", refuse)
    RefineNet.from_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="ImageNet weights were loaded"):
        tiny(encoder_name=PACKAGED, encoder_weights="imagenet")


def test_model_card_loads_this_class_and_holds_the_metrics(tmp_path):
    tiny(encoder_name=PACKAGED).save_pretrained(tmp_path, dataset="VOC 2012", metrics={"miou": 0.5})
    card = (tmp_path / "README.md").read_text()
    assert "from refinenet_pl import RefineNet" in card
    assert "RefineNet.from_pretrained(" in card
    assert "smp.from_pretrained" not in card
    assert "VOC 2012" in card
    assert '"miou": 0.5' in card


@pytest.mark.parametrize("image_scales", [(1.0,), (1.2, 0.6)])
def test_aux_params_give_a_second_output(image_scales):
    network = tiny(encoder_name=PACKAGED, image_scales=image_scales, aux_params={"classes": 4}).eval()
    x = torch.randn(2, 3, 65, 97)
    logits, labels = network(x)
    assert (logits.shape, labels.shape) == ((2, 3, 65, 97), (2, 4))
    deepest = network.features(x)[0][-1]
    torch.testing.assert_close(labels, network.classification_head[-2](deepest.mean((2, 3))))


def test_predict_is_the_evaluation_without_gradients():
    network = tiny(encoder_name=PACKAGED, head_dropout=0.9).train()
    x = torch.randn(2, 3, 65, 97)
    prediction = network.predict(x)
    assert not network.training
    assert not prediction.requires_grad
    torch.testing.assert_close(prediction, network(x))


def test_weights_of_other_classes_load_only_when_not_strict():
    network, other = tiny(encoder_name=PACKAGED), tiny(encoder_name=PACKAGED, classes=7)
    with pytest.raises(RuntimeError, match="segmentation_head.1.weight"):
        network.load_state_dict(other.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_state_dict({})
    kept = network.segmentation_head[1].weight.clone()
    with pytest.warns(UserWarning, match="Mismatched keys"):
        network.load_state_dict(other.state_dict(), strict=False)
    assert torch.equal(network.segmentation_head[1].weight, kept)
    assert torch.equal(network.decoder.head[0].conv1.weight, other.decoder.head[0].conv1.weight)


@torch.no_grad()
def test_exported_network_gives_the_same_logits():
    network = tiny(encoder_name=PACKAGED).eval()
    x = torch.randn(1, 3, 65, 97)
    exported = torch.export.export(network, (torch.zeros_like(x),), strict=False).module()
    torch.testing.assert_close(exported(x), network(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_compiled_network_gives_the_same_logits():
    network = tiny(encoder_name=PACKAGED, encoder_depth=3, cascade=2).eval()  # small: tracing takes seconds
    x = torch.randn(1, 3, 65, 97)
    torch.compiler.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x), rtol=1e-5, atol=1e-5)
