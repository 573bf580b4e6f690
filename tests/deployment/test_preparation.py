"""Preparation for inference: the same scores from fewer and cheaper operations."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from helpers.networks import tiny
from torch import nn

from refinenet_pl.deployment import winograd
from refinenet_pl.deployment.folding import fold_batch_norm
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.deployment.winograd import WinogradConv2d


def trained(network: nn.Module) -> nn.Module:
    """With random statistics, scales and shifts; folding the initial 0 and 1 would change nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, limits in (module.running_var, (0.5, 2.0)), (module.weight, (0.5, 1.5)):
                nn.init.uniform_(tensor, *limits)
            for tensor in module.running_mean, module.bias:
                nn.init.uniform_(tensor, -0.5, 0.5)
    return network.eval()


def executed_norms(network: nn.Module) -> int:
    """Number of batch normalizations in a forward pass; encoders can have stages that they do not use."""
    seen: set[int] = set()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(lambda module, *_: seen.add(id(module))) for module in norms]
    network(torch.randn(2, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    return len(seen)


@torch.no_grad()
def assert_same_scores(network: nn.Module, before: torch.Tensor, x: torch.Tensor) -> None:
    assert (network(x) - before).abs().max() < 1e-4 * before.abs().max()


@pytest.mark.parametrize("size", [(16, 16), (7, 9), (1, 1), (33, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("limit", [1, 2**30])
def test_winograd_equals_the_convolution(size, bias, limit, monkeypatch):
    monkeypatch.setattr(winograd, "CHUNK_BYTES", limit)
    conv, x = nn.Conv2d(5, 7, 3, padding=1, bias=bias), torch.randn(2, 5, *size)
    expected = F.conv2d(x.double(), conv.weight.double(), None if conv.bias is None else conv.bias.double(), padding=1)
    found = WinogradConv2d(conv)(x)
    assert found.shape == expected.shape and found.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(found.double(), expected, atol=1e-5)


FITS = [{}, {"bias": False}]
OTHERS = [{"stride": 2}, {"padding": 0}, {"dilation": 2, "padding": 2}, {"groups": 2}, {"padding_mode": "reflect"}]
OTHERS += [{"kernel_size": 1, "padding": 0}, {"in_channels": 64}, {"out_channels": 512}]
OTHERS += [{"dtype": torch.float64}, {"device": "meta"}]


@pytest.mark.parametrize("arguments", FITS + OTHERS, ids=str)
def test_winograd_is_for_wide_3x3_convolutions(arguments):
    conv = nn.Conv2d(**{"in_channels": 256, "out_channels": 256, "kernel_size": 3, "padding": 1} | arguments)
    assert WinogradConv2d.fits(conv) == (arguments in FITS)


# In densenet, normalizations do not follow a convolution, or other modules also use its output.
@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "tu-tf_efficientnet_lite0", "mobilenet_v2", "densenet121"])
def test_folds_batch_normalization(encoder):
    network, x = trained(tiny(encoder)), torch.randn(2, 3, 70, 90)
    before, number = network(x).detach(), executed_norms(network)
    folded = fold_batch_norm(network)
    assert number - folded == executed_norms(network) < number
    assert folded == number or encoder == "densenet121"
    assert_same_scores(network, before, x)


class Reused(nn.Sequential):
    """The convolution's output enters the normalization and a sum."""

    def forward(self, x):
        y = self[0](x)
        return self[2](self[1](y) + y)


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (Reused(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)), 9),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)), 3),  # for images of one size
        (nn.Sequential(nn.Linear(3, 2)), 3),  # without convolutions
    ],
    ids=["reused_output", "one_size", "no_convolution"],
)
def test_leaves_a_network_that_cannot_be_folded(network, side):
    x = torch.randn(1, 3, side, side)
    before, names = trained(network)(x), sorted(network.state_dict())
    assert fold_batch_norm(network) == 0
    assert torch.equal(network(x), before) and sorted(network.state_dict()) == names


@pytest.mark.parametrize("compiled", [False, True])
def test_prepares_refinenet(compiled):
    network, x = trained(tiny(width=192, deepest_width=192)), torch.randn(1, 3, 65, 97)
    before = network(x).detach()
    prepared = prepare_for_inference(network, compiled)
    fast = sum(isinstance(module, WinogradConv2d) for module in prepared.modules())
    assert fast == 0 if compiled else fast > 50
    assert not executed_norms(prepared) and not any(parameter.requires_grad for parameter in prepared.parameters())
    assert_same_scores(prepared, before, x)


# The deepest block of the full cascade of one scale has one path and no fusion.
@pytest.mark.parametrize(
    ("arguments", "merged"),
    [({}, 3), ({"cascade": 2}, 4), ({"image_scales": (1.2, 0.6)}, 7), ({"path_rcus": 1}, 0), ({"kernel_size": 3}, 0)],
)
def test_merges_projections(arguments, merged):
    light_weight = {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0}
    network, x = trained(tiny(**light_weight | arguments)), torch.randn(1, 3, 65, 97)
    before = network(x).detach()
    prepare_for_inference(network)
    assert sum(isinstance(conv, nn.Identity) for block in network.decoder.blocks for conv in block.fusion.convs) == merged
    assert_same_scores(network, before, x)
    assert_same_scores(prepare_for_inference(network), before, x)  # a second call changes nothing


@pytest.mark.parametrize("build", [smp.FPN, smp.DeepLabV3Plus, smp.PSPNet, smp.UPerNet])
def test_prepares_other_networks(build):
    network, x = trained(build("resnet18", encoder_weights=None, classes=3)), torch.randn(1, 3, 64, 96)
    before, number = network(x).detach(), executed_norms(network)
    assert_same_scores(prepare_for_inference(network), before, x)
    assert executed_norms(network) < number / 4
