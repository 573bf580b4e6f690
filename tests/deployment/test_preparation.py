"""Networks made faster for inference: the same scores, from fewer and cheaper operations."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import nn

from refinenet_pl.deployment import winograd
from refinenet_pl.deployment.folding import fold_batch_norm
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.deployment.winograd import WinogradConv2d
from refinenet_pl.models.ops import pooling
from refinenet_pl.models.refinenet import RefineNet


def trained(network: nn.Module) -> nn.Module:
    """With statistics, scales and shifts as after training: initial ones are 0 and 1, and folding them would change nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.no_grad()
def assert_same_scores(network: nn.Module, before: torch.Tensor, x: torch.Tensor) -> None:
    after = network(x)
    assert (after - before).abs().max() < 1e-4 * before.abs().max()
    assert not torch.equal(after, torch.zeros_like(after))


@pytest.mark.parametrize("size", [(16, 16), (7, 9), (1, 1), (33, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("limit", [1, 2**30])
def test_winograd_is_the_convolution(size, bias, limit, monkeypatch):
    monkeypatch.setattr(winograd, "CHUNK_BYTES", limit)
    conv = nn.Conv2d(5, 7, 3, padding=1, bias=bias)
    x = torch.randn(2, 5, *size)
    expected = F.conv2d(x.double(), conv.weight.double(), None if conv.bias is None else conv.bias.double(), padding=1)
    found = WinogradConv2d(conv)(x)
    assert found.shape == expected.shape
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(16, 16), (7, 9), (1, 1), (2, 40)])
@pytest.mark.parametrize("limit", [1, 2000, 2**30])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_along_the_sides_is_the_pooling(size, limit, layout, monkeypatch):
    monkeypatch.setattr(pooling, "CHUNK_BYTES", limit)
    x = torch.randn(2, 5, *size).contiguous(memory_format=layout)
    found = pooling.pool_along_sides(x)
    assert torch.equal(found, F.max_pool2d(x, 5, 1, 2))
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ({}, True),
        ({"bias": False}, True),
        ({"stride": 2}, False),
        ({"padding": 0}, False),
        ({"dilation": 2, "padding": 2}, False),
        ({"groups": 2}, False),
        ({"padding_mode": "reflect"}, False),
        ({"kernel_size": 1, "padding": 0}, False),
        ({"in_channels": 64}, False),
        ({"out_channels": 512}, False),
        ({"dtype": torch.float64}, False),
        ({"device": "meta"}, False),
    ],
)
def test_winograd_replaces_only_wide_3x3_convolutions(arguments, fits):
    conv = nn.Conv2d(**{"in_channels": 256, "out_channels": 256, "kernel_size": 3, "padding": 1} | arguments)
    assert WinogradConv2d.fits(conv) is fits


@pytest.mark.parametrize(
    ("encoder", "left"),
    # What is left in others than ResNets follows no convolution, or one whose output is read elsewhere too.
    [("resnet18", 0), ("resnet50", 0), ("tu-tf_efficientnet_lite0", 0), ("mobilenet_v2", 0), ("densenet121", None)],
)
def test_batch_normalization_is_folded_whatever_the_encoder(encoder, left):
    network = trained(RefineNet(encoder, None, width=8, deepest_width=8, classes=3, decoder_init="scaled"))
    x = torch.randn(2, 3, 70, 90)
    before, number = network(x).detach(), norms(network)
    used = fold_batch_norm(network)
    assert used == number - norms(network) > 0
    assert left is None or used == number - left - unused_norms(network)
    assert_same_scores(network, before, x)


def unused_norms(network: nn.Module) -> int:
    """Of stages that the encoder keeps and does not run."""
    seen: set[int] = set()
    hooks = [
        m.register_forward_hook(lambda m, i, o: seen.add(id(m))) for m in network.modules() if isinstance(m, nn.BatchNorm2d)
    ]
    network(torch.randn(2, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    return norms(network) - len(seen)


class Unfoldable(nn.Module):
    """The convolution's output is read by the normalization and by a sum."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        y = self.conv(x)
        return self.last(self.norm(y) + y)


def test_a_network_that_folding_would_change_is_left_as_it_was():
    network = trained(Unfoldable())
    x = torch.randn(1, 3, 9, 9)
    before, names = network(x), sorted(network.state_dict())
    assert fold_batch_norm(network) == 0
    assert torch.equal(network(x), before) and sorted(network.state_dict()) == names


def test_a_network_for_images_of_other_sizes_is_left_as_it_is():
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)))
    before = network(torch.ones(1, 3, 3, 3))
    assert fold_batch_norm(network) == 0 and norms(network) == 1
    assert torch.equal(network(torch.ones(1, 3, 3, 3)), before)


def test_a_network_without_convolutions_has_nothing_to_fold():
    assert fold_batch_norm(nn.Sequential(nn.Linear(3, 2))) == 0


@pytest.mark.parametrize("compiled", [False, True])
def test_a_prepared_refinenet_gives_the_same_scores(compiled):
    network = trained(RefineNet("resnet18", None, classes=3, width=192, deepest_width=192, decoder_init="scaled"))
    x = torch.randn(1, 3, 65, 97)
    before = network(x).detach()
    prepared = prepare_for_inference(network, compiled)
    fast = sum(isinstance(module, WinogradConv2d) for module in prepared.modules())
    assert fast == 0 if compiled else fast > 50
    assert norms(prepared) == 0 and not any(parameter.requires_grad for parameter in prepared.parameters())
    assert_same_scores(prepared, before, x)


@pytest.mark.parametrize("arguments", [{}, {"cascade": 2}, {"image_scales": (1.2, 0.6)}, {"path_rcus": 1}, {"kernel_size": 3}])
def test_two_projections_in_a_row_become_one(arguments):
    light_weight = {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0}
    network = RefineNet(
        "resnet18", None, classes=3, width=8, deepest_width=16, decoder_init="scaled", **light_weight | arguments
    )
    trained(network)
    x = torch.randn(1, 3, 65, 97)
    before = network(x).detach()
    prepare_for_inference(network)
    merged = sum(isinstance(conv, nn.Identity) for block in network.decoder.blocks for conv in block.fusion.convs)
    # The deepest block of the full cascade of one scale has one path and nothing to fuse.
    expected = {"": 3, "cascade": 4, "image_scales": 7, "path_rcus": 0, "kernel_size": 0}
    assert merged == expected["".join(arguments)]
    assert_same_scores(network, before, x)
    assert_same_scores(prepare_for_inference(network), before, x)  # a second time changes nothing


@pytest.mark.parametrize("build", [smp.FPN, smp.DeepLabV3Plus, smp.PSPNet, smp.UPerNet])
def test_networks_of_others_are_prepared_too(build):
    network = trained(build("resnet18", encoder_weights=None, classes=3))
    x = torch.randn(1, 3, 64, 96)
    before, number = network(x).detach(), norms(network) - unused_norms(network)
    assert_same_scores(prepare_for_inference(network), before, x)
    assert norms(network) - unused_norms(network) < number / 4
