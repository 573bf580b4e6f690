"""The parts of a RefineNet block, against slow and obvious computations of the same."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.matlab import matlab_line
from torch import nn

from refinenet_pl.models.blocks import ChainedResidualPooling, MultiResolutionFusion, RefineNetBlock, ResidualConvUnit
from refinenet_pl.models.ops.resize import resize, upsample


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def slow_chain(x, weights, order, relu, after):
    """Chained residual pooling written out: block k reads what block k - 1 made, the residual is the rectified input."""
    first = x.clamp(min=0) if relu else x
    made = [first]
    for weight in weights:
        if order == "pool_conv":
            made.append(F.conv2d(F.max_pool2d(made[-1], 5, 1, 2), weight, padding=weight.shape[-1] // 2))
        else:
            made.append(F.max_pool2d(F.conv2d(made[-1], weight, padding=weight.shape[-1] // 2), 5, 1, 2))
    return after(torch.stack(made).sum(0))


AFTER = {"identity": lambda x: x, "relu": lambda x: x.clamp(min=0)}


@pytest.mark.parametrize("shortcut", ["identity", "relu"])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("order", ["pool_conv", "conv_pool"])
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 6])
def test_chained_pooling_reads_the_previous_block(blocks, order, relu, shortcut):
    pooling = ChainedResidualPooling(3, blocks, order=order, relu=relu, shortcut=shortcut)
    x = torch.randn(2, 3, 13, 17) - 0.5
    weights = [conv.weight for conv in pooling.convs]
    assert len(weights) == blocks
    torch.testing.assert_close(pooling(x), slow_chain(x, weights, order, relu, AFTER[shortcut]), rtol=1e-5, atol=1e-5)


def test_both_pooling_orders_differ_with_the_same_weights():
    cvpr, improved = ChainedResidualPooling(3, 2, order="pool_conv"), ChainedResidualPooling(3, 2, order="conv_pool")
    improved.load_state_dict(cvpr.state_dict())
    x = torch.randn(1, 3, 9, 9)
    assert (cvpr(x) - improved(x)).abs().max() > 0.01


def test_each_pooling_block_widens_the_view():
    x = torch.zeros(1, 1, 41, 41)
    x[0, 0, 20, 20] = 1
    for blocks in (1, 2, 3):
        pooling = ChainedResidualPooling(1, blocks)
        for conv in pooling.convs:
            nn.init.ones_(conv.weight)
        seen = pooling(x)[0, 0].nonzero()
        # Per block two pixels from the 5x5 pooling and one from the 3x3 convolution.
        assert (seen.min(), seen.max()) == (20 - 3 * blocks, 20 + 3 * blocks)


def test_without_pooling_blocks_the_relu_alone_is_left():
    x = torch.randn(1, 3, 5, 5)
    assert torch.equal(ChainedResidualPooling(3, 0)(x), x.clamp(min=0))
    assert torch.equal(ChainedResidualPooling(3, 0, relu=False, shortcut="relu")(x), x)


@pytest.mark.parametrize("order", ["pool_conv", "conv_pool"])
def test_residual_of_chained_pooling_is_the_rectified_input(order):
    pooling = ChainedResidualPooling(3, 2, order=order)
    for conv in pooling.convs:
        nn.init.zeros_(conv.weight)
    x = torch.randn(1, 3, 5, 5)
    torch.testing.assert_close(pooling(x), x.clamp(min=0))


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("shortcut", ["identity", "relu"])
def test_residual_conv_unit_has_both_convolutions(shortcut, kernel_size):
    unit = ResidualConvUnit(3, kernel_size, shortcut)
    x, pad = torch.randn(2, 3, 7, 9), kernel_size // 2
    hidden = F.conv2d(x.clamp(min=0), unit.conv1.weight, unit.conv1.bias, padding=pad)
    expected = x + F.conv2d(hidden.clamp(min=0), unit.conv2.weight, padding=pad)
    torch.testing.assert_close(unit(x), AFTER[shortcut](expected))


def test_only_the_first_convolution_of_a_residual_conv_unit_has_a_bias():
    names = {name for name, _ in ResidualConvUnit(3).named_parameters()}
    assert names == {"conv1.weight", "conv1.bias", "conv2.weight"}


def test_shortcut_of_a_residual_conv_unit_carries_the_unrectified_input():
    unit = ResidualConvUnit(3)
    nn.init.zeros_(unit.conv2.weight)
    x = -torch.rand(1, 3, 4, 4)
    assert torch.equal(unit(x), x)


@pytest.mark.parametrize(
    "module", [ResidualConvUnit(3), ChainedResidualPooling(3, 2), RefineNetBlock([3])], ids=lambda m: type(m).__name__
)
def test_input_is_not_changed_in_place(module):
    x = torch.randn(1, 3, 6, 6)
    before = x.clone()
    module([x] if isinstance(module, RefineNetBlock) else x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("shortcut", ["identity", "relu"])
def test_fusion_convolves_and_then_enlarges_the_smaller_path(shortcut):
    fusion = MultiResolutionFusion([6, 3], shortcut=shortcut)
    small, large = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 7, 10)
    first, second = (conv.weight for conv in fusion.convs)
    enlarged = F.interpolate(F.conv2d(small, first, padding=1), size=(7, 10), mode="bilinear", align_corners=False)
    expected = AFTER[shortcut](enlarged + F.conv2d(large, second, padding=1))
    torch.testing.assert_close(fusion([small, large]), expected)


def test_enlarging_before_the_convolution_would_be_something_else():
    fusion = MultiResolutionFusion([3, 3])
    small, large = torch.randn(1, 3, 4, 5), torch.randn(1, 3, 7, 10)
    other = fusion([F.interpolate(small, size=(7, 10), mode="bilinear"), large])
    assert (fusion([small, large]) - other).abs().max() > 0.01


@pytest.mark.parametrize("sizes", [[(5, 6), (4, 9)], [(9, 3), (5, 6), (2, 2)]])
def test_fusion_takes_the_largest_height_and_the_largest_width(sizes):
    fusion = MultiResolutionFusion([4, 2, 3][: len(sizes)])
    channels = [conv.in_channels for conv in fusion.convs]
    fused = fusion([torch.randn(1, c, *size) for c, size in zip(channels, sizes, strict=True)])
    assert fused.shape == (1, 2, max(h for h, _ in sizes), max(w for _, w in sizes))


@pytest.mark.parametrize("shortcut", ["identity", "relu"])
def test_fusion_leaves_a_single_path_untouched(shortcut):
    fusion = MultiResolutionFusion([3], shortcut=shortcut)
    x = torch.randn(1, 3, 5, 5)
    assert fusion([x]) is x
    assert not list(fusion.parameters())


def test_block_counts_its_residual_conv_units():
    block = RefineNetBlock([4, 2], path_rcus=3, output_rcus=2, pooling_blocks=1)
    assert [[unit.conv1.in_channels for unit in path] for path in block.paths] == [[4] * 3, [2] * 3]
    assert [unit.conv1.in_channels for unit in block.output] == [2, 2]
    assert block.out_channels == 2


def test_block_without_any_part_passes_a_single_path_through():
    x = torch.randn(1, 3, 5, 5)
    assert RefineNetBlock([3], path_rcus=0, output_rcus=0, pooling_blocks=0, pooling_relu=False)([x]) is x


def test_relu_shortcut_makes_every_sum_of_a_block_non_negative():
    block = RefineNetBlock([4, 3], shortcut="relu")
    sums = [m for m in block.modules() if isinstance(m, (ResidualConvUnit, MultiResolutionFusion, ChainedResidualPooling))]
    assert len(sums) == 2 * 2 + 1 + 1 + 1
    lowest = []
    for module in sums:
        module.register_forward_hook(lambda module, inputs, output: lowest.append(output.min().item()))
    block([torch.randn(1, 4, 5, 5) - 1, torch.randn(1, 3, 9, 9) - 1])
    assert lowest == [0.0] * len(sums)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("bilinear", [0, 0.25, 0.75, 1]), ("bilinear_aligned", [0, 1 / 3, 2 / 3, 1])],
)
def test_resize_of_two_pixels(how, expected):
    resized = resize(torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2), (1, 4), how)
    torch.testing.assert_close(resized.flatten(), torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("size", [(18, 22), (11, 13), (9, 12), (5, 7), (2, 2), (40, 3)])
@pytest.mark.parametrize("source", [(9, 11), (1, 7), (2, 3), (1, 1)])
def test_bicubic_is_that_of_matlab_to_the_edges(source, size):
    picture = np.random.default_rng(0).random(source)
    rows, columns = (matlab_line(of, to, to / of) for of, to in zip(source, size, strict=True))
    resized = resize(torch.from_numpy(picture)[None, None], size, "bicubic")[0, 0].numpy()
    np.testing.assert_allclose(resized, rows @ picture @ columns.T, atol=1e-12)


def test_bicubic_enlarging_for_a_sum_has_the_greater_factor_on_both_sides_and_cuts():
    picture = np.random.default_rng(0).random((17, 23))
    rows, columns = matlab_line(17, 34, 2.0), matlab_line(23, 46, 2.0)[:45]
    enlarged = upsample(torch.from_numpy(picture)[None, None], (34, 45), "bicubic")[0, 0].numpy()
    np.testing.assert_allclose(enlarged, rows @ picture @ columns.T, atol=1e-12)


@pytest.mark.parametrize("how", ["bilinear", "bilinear_aligned"])
def test_bilinear_enlarging_for_a_sum_is_resizing(how):
    x = torch.randn(1, 2, 17, 23)
    assert torch.equal(upsample(x, (34, 45), how), resize(x, (34, 45), how))


def test_bicubic_is_as_exact_under_autocast():
    x = torch.randn(1, 3, 20, 30)
    with torch.autocast("cpu", torch.bfloat16):
        resized = resize(x, (33, 41), "bicubic")
    assert torch.equal(resized, resize(x, (33, 41), "bicubic"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bicubic_keeps_the_dtype_and_a_constant(dtype):
    resized = resize(torch.full((1, 3, 50, 70), 3.0, dtype=dtype), (131, 45), "bicubic")
    assert resized.dtype == dtype
    torch.testing.assert_close(resized, torch.full_like(resized, 3.0), rtol=0.02, atol=0)


@pytest.mark.parametrize("how", ["bilinear", "bilinear_aligned", "bicubic"])
def test_resize_to_the_same_size_gives_the_map_itself(how):
    x = torch.randn(1, 2, 5, 6)
    assert resize(x, (5, 6), how) is x
