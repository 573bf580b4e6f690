"""Parts of a RefineNet block and resizing, against slow and simple computations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.matlab import matlab_line

from refinenet_pl.models.blocks import ChainedResidualPooling, MultiResolutionFusion, RefineNetBlock, ResidualConvUnit
from refinenet_pl.models.ops.resize import resize, upsample

AFTER = {"identity": lambda x: x, "relu": lambda x: x.clamp(min=0)}
shortcuts = pytest.mark.parametrize("shortcut", AFTER)


@shortcuts
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("order", ["pool_conv", "conv_pool"])
@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 4, 6])
def test_chained_pooling(blocks, order, relu, shortcut):
    pooling = ChainedResidualPooling(3, blocks, order=order, relu=relu, shortcut=shortcut)
    assert len(pooling.convs) == blocks
    x = torch.randn(2, 3, 13, 17) - 0.5
    stages, before = [x.clamp(min=0) if relu else x], x.clone()
    for conv in pooling.convs:
        if order == "pool_conv":
            stages.append(F.conv2d(F.max_pool2d(stages[-1], 5, 1, 2), conv.weight, padding=1))
        else:
            stages.append(F.max_pool2d(F.conv2d(stages[-1], conv.weight, padding=1), 5, 1, 2))
    expected = AFTER[shortcut](torch.stack(stages).sum(0)) if blocks else stages[0]  # without blocks there is no sum
    torch.testing.assert_close(pooling(x), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(x, before), "the input is not modified"


@shortcuts
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_residual_conv_unit(kernel_size, shortcut):
    unit = ResidualConvUnit(3, kernel_size, shortcut)
    assert {name for name, _ in unit.named_parameters()} == {"conv1.weight", "conv1.bias", "conv2.weight"}
    x, pad = torch.randn(2, 3, 7, 9), kernel_size // 2
    hidden = F.conv2d(x.clamp(min=0), unit.conv1.weight, unit.conv1.bias, padding=pad)
    expected, before = AFTER[shortcut](x + F.conv2d(hidden.clamp(min=0), unit.conv2.weight, padding=pad)), x.clone()
    torch.testing.assert_close(unit(x), expected)
    assert torch.equal(x, before), "the input is not modified"


@pytest.mark.parametrize(("channels", "groups"), [(5, 1), (24, 3), (40, 5), (256, 32), (320, 32)])
def test_group_normalization(channels, groups):
    unit = ResidualConvUnit(channels, norm="group")
    (norm,) = unit.norm
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, channels, 4, 5)
    hidden = F.conv2d(x.clamp(min=0), unit.conv1.weight, unit.conv1.bias, padding=1).view(2, groups, -1)
    hidden = (hidden - hidden.mean(-1, keepdim=True)) / (hidden.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    hidden = hidden.view_as(x) * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(unit(x), x + F.conv2d(hidden.clamp(min=0), unit.conv2.weight, padding=1))


@shortcuts
def test_fusion_convolves_before_it_upsamples(shortcut):
    fusion = MultiResolutionFusion([6, 3], shortcut=shortcut)
    small, large = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 7, 10)
    first, second = (conv.weight for conv in fusion.convs)
    upsampled = F.interpolate(F.conv2d(small, first, padding=1), size=(7, 10), mode="bilinear", align_corners=False)
    expected = AFTER[shortcut](upsampled + F.conv2d(large, second, padding=1))
    torch.testing.assert_close(fusion([small, large]), expected)
    other = fusion([F.interpolate(small, size=(7, 10), mode="bilinear"), large])
    assert (expected - other).abs().max() > 0.01


@pytest.mark.parametrize(("sizes", "expected"), [([(5, 6), (4, 9)], (5, 9)), ([(9, 3), (5, 6), (2, 2)], (9, 6))])
def test_fusion_has_the_largest_height_and_width(sizes, expected):
    channels = [4, 2, 3][: len(sizes)]
    fused = MultiResolutionFusion(channels)([torch.randn(1, c, *size) for c, size in zip(channels, sizes, strict=True)])
    assert fused.shape == (1, 2, *expected)


def test_block_has_its_units_and_shortcuts():
    block = RefineNetBlock([4, 2], path_rcus=3, output_rcus=2, pooling_blocks=1, shortcut="relu")
    assert [[unit.conv1.in_channels for unit in path] for path in block.paths] == [[4] * 3, [2] * 3]
    assert [unit.conv1.in_channels for unit in block.output] == [2, 2] and block.out_channels == 2
    assert [part.shortcut for part in block.modules() if hasattr(part, "shortcut")] == ["relu"] * (2 * 3 + 1 + 1 + 2)


@shortcuts
def test_single_path_passes_without_fusion(shortcut):
    block, x = RefineNetBlock([3], path_rcus=0, output_rcus=0, pooling_blocks=0, pooling_relu=False), torch.randn(1, 3, 5, 5)
    assert block([x]) is x and not list(block.parameters())
    assert MultiResolutionFusion([3], shortcut=shortcut)([x]) is x


@pytest.mark.parametrize(
    ("how", "expected"), [("bilinear", [0, 0.25, 0.75, 1]), ("bilinear_aligned", [0, 1 / 3, 2 / 3, 1]), ("bicubic", None)]
)
def test_resize(how, expected):
    x = torch.randn(1, 2, 17, 23)
    assert resize(x, (17, 23), how) is x
    if expected:
        resized = resize(torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2), (1, 4), how)
        torch.testing.assert_close(resized.flatten(), torch.tensor(expected, dtype=torch.float32))
        assert torch.equal(upsample(x, (34, 45), how), resize(x, (34, 45), how))


@pytest.mark.parametrize("size", [(18, 22), (11, 13), (9, 12), (5, 7), (2, 2), (40, 3)])
@pytest.mark.parametrize("source", [(9, 11), (1, 7), (2, 3), (1, 1)])
def test_bicubic_equals_matlab(source, size):
    image = np.random.default_rng(0).random(source)
    rows, columns = (matlab_line(before, after, after / before) for before, after in zip(source, size, strict=True))
    resized = resize(torch.from_numpy(image)[None, None], size, "bicubic")[0, 0].numpy()
    np.testing.assert_allclose(resized, rows @ image @ columns.T, atol=1e-12)


def test_bicubic_upsampling_has_one_factor_and_crops():
    image = np.random.default_rng(0).random((17, 23))
    rows, columns = matlab_line(17, 34, 2.0), matlab_line(23, 46, 2.0)[:45]
    upsampled = upsample(torch.from_numpy(image)[None, None], (34, 45), "bicubic")[0, 0].numpy()
    np.testing.assert_allclose(upsampled, rows @ image @ columns.T, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_precision_of_bicubic(dtype):
    x = torch.randn(1, 3, 20, 30)
    with torch.autocast("cpu", torch.bfloat16):
        resized = resize(x, (33, 41), "bicubic")
    assert torch.equal(resized, resize(x, (33, 41), "bicubic"))
    resized = resize(torch.full((1, 3, 50, 70), 3.0, dtype=dtype), (131, 45), "bicubic")
    assert resized.dtype == dtype
    torch.testing.assert_close(resized, torch.full_like(resized, 3.0), rtol=0.02, atol=0)
