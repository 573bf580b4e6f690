"""The command `describe`."""

import re

import pytest
import segmentation_models_pytorch as smp
import torch

from refinenet_pl.cli.describe import Row, describe
from refinenet_pl.cli.main import main
from refinenet_pl.models.refinenet import RefineNet


def printed(capsys, *options: str) -> list[list[str]]:
    """The cells of each printed row, without the ruler."""
    main(["describe", *options])
    lines = capsys.readouterr().out.rstrip().splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in lines if not line.startswith("---")]


def described(height: int = 128, width: int = 160, **arguments) -> list[Row]:
    with torch.device("meta"):
        network = RefineNet("resnet50", None, **arguments)
        return describe(network, torch.zeros(1, arguments.get("in_channels", 3), height, width))


def test_published_network(capsys):
    header, *rows, total = printed(capsys, "--network.encoder_name=resnet50")
    assert header == ["part", "class", "output", "parameters", "GMAC"]
    assert total[:4] == ["total", "RefineNet", "21 x 512 x 512", "99,060,309"]
    assert float(total[4]) == pytest.approx(243.5, abs=0.1)
    assert rows[0][:4] == ["encoder", "ResNetEncoder", "2048 x 16 x 16", "23,508,032"]
    assert rows[-1][:4] == ["segmentation_head", "Sequential", "21 x 128 x 128", "48,405"]
    assert sum(int(row[3].replace(",", "")) for row in rows) == 99_060_309
    assert sum(float(row[4]) for row in rows) == pytest.approx(float(total[4]), abs=0.02)
    small = printed(capsys, "--network.encoder_name=resnet50", "--height=128", "--width=1024")[-1]
    assert small[3] == total[3] and float(small[4]) == pytest.approx(float(total[4]) / 2, rel=1e-3)


NETWORKS = [({}, 4), ({"image_scales": (1.2, 0.6)}, 4), ({"cascade": 1}, 1), ({"cascade": 2}, 2), ({"pooling_blocks": 0}, 0)]
NETWORKS += [({"path_rcus": 0, "output_rcus": 0, "head_rcus": 0}, 4), ({"in_channels": 4, "encoder_depth": 4}, 3)]


@pytest.mark.parametrize(("arguments", "poolings"), NETWORKS)
def test_parts_add_up(arguments, poolings):
    *parts, total = described(97, 131, **arguments)
    assert all(parameters > 0 and multiply_adds > 0 for *_, parameters, multiply_adds in parts)
    assert tuple(sum(row[column] for row in parts) for column in (3, 4)) == total[3:]
    assert sum(row[1] == "ChainedResidualPooling" for row in parts) == poolings


def test_multiply_adds():
    parts = {name: row for name, *row in described()}
    _, shape, _, multiply_adds = parts["decoder.adaptations.3.0"]
    assert (shape, multiply_adds) == ((256, 32, 40), 256 * 256 * 9 * 32 * 40)
    _, shape, _, multiply_adds = parts["decoder.blocks.1.fusion"]
    # The deeper path is convolved before it is upsampled.
    assert (shape, multiply_adds) == ((256, 8, 10), (512 * 256 * 4 * 5 + 256 * 256 * 8 * 10) * 9)


def test_parts_of_two_image_scales():
    names = [name for name, *_ in described(image_scales=(1.2, 0.6))]
    assert [name for name in names if name.startswith("encoder")] == ["encoder.0", "encoder.1"]
    assert sum(name.startswith("decoder.adaptations.") for name in names) == 7


def test_other_networks():
    network = smp.FPN("resnet18", encoder_weights=None, classes=3)
    rows = describe(network, torch.zeros(1, 3, 64, 96))
    assert [row[0] for row in rows] == ["encoder", "decoder", "segmentation_head", "total"]
    assert rows[-1][2:4] == ((3, 64, 96), sum(parameter.numel() for parameter in network.parameters()))
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("option", "problem"),
    [("--height=0", "height is 0"), ("--network.cascade=7", "cascade is 7"), ("--network.encoder_name=none", "encoder 'none'")],
)
def test_refuses_options_outside_their_range(option, problem):
    with pytest.raises(SystemExit, match=problem):
        main(["describe", option])
