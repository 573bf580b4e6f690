"""The command that prints a network part by part."""

import re

import pytest
import segmentation_models_pytorch as smp
import torch

from refinenet_pl.cli.describe import Row, describe
from refinenet_pl.cli.main import main
from refinenet_pl.models.refinenet import RefineNet


def printed(capsys, *options: str) -> list[list[str]]:
    """The cells of each row that the command prints, the ruler left out."""
    main(["describe", *options])
    lines = capsys.readouterr().out.rstrip().splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in lines if not line.startswith("---")]


def described(height: int = 128, width: int = 160, **arguments) -> list[Row]:
    with torch.device("meta"):
        network = RefineNet("resnet50", None, **arguments)
        return describe(network, torch.zeros(1, arguments.get("in_channels", 3), height, width))


def test_table_of_the_published_network(capsys):
    header, *rows, total = printed(capsys, "--network.encoder_name=resnet50")
    assert header == ["part", "class", "output", "parameters", "GMAC"]
    assert total[:4] == ["total", "RefineNet", "21 x 512 x 512", "99,060,309"]
    assert float(total[4]) == pytest.approx(243.5, abs=0.1)
    assert rows[0][:4] == ["encoder", "ResNetEncoder", "2048 x 16 x 16", "23,508,032"]
    assert rows[1][:4] == ["decoder.adaptations.0.0", "Sequential", "512 x 16 x 16", "9,437,184"]
    assert rows[2][:2] == ["decoder.blocks.0.paths.0", "ResidualConvUnits"]
    assert rows[-1][:4] == ["segmentation_head", "Sequential", "21 x 128 x 128", "48,405"]
    pooling = [row[0] for row in rows if row[1] == "ChainedResidualPooling"]
    assert pooling == [f"decoder.blocks.{index}.pooling" for index in range(4)]
    assert sum(int(row[3].replace(",", "")) for row in rows) == 99_060_309
    assert sum(float(row[4]) for row in rows) == pytest.approx(float(total[4]), abs=0.02)


def test_size_of_the_image_sets_the_cost(capsys):
    totals = [printed(capsys, "--network.encoder_name=resnet18", *size)[-1] for size in ([], ["--height=256", "--width=1024"])]
    assert totals[0][3:] == totals[1][3:]
    smaller = printed(capsys, "--network.encoder_name=resnet18", "--height=256")[-1]
    assert float(smaller[4]) == pytest.approx(float(totals[0][4]) / 2, rel=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"image_scales": (1.2, 0.6)},
        {"cascade": 1},
        {"cascade": 2},
        {"pooling_blocks": 0},
        {"path_rcus": 0, "output_rcus": 0, "head_rcus": 0, "kernel_size": 1},
        {"in_channels": 4, "encoder_depth": 4},
    ],
    ids=str,
)
def test_parts_add_up(arguments):
    *parts, total = described(97, 131, **arguments)
    assert all(parameters > 0 and multiply_adds > 0 for *_, parameters, multiply_adds in parts)
    assert tuple(sum(row[column] for row in parts) for column in (3, 4)) == total[3:]


def test_multiply_adds_of_a_part_are_its_weights_times_its_places():
    parts = {name: row for name, *row in described()}
    _, shape, _, multiply_adds = parts["decoder.adaptations.3.0"]
    assert shape == (256, 32, 40)
    assert multiply_adds == 256 * 256 * 9 * 32 * 40
    _, shape, _, multiply_adds = parts["decoder.blocks.1.fusion"]
    assert shape == (256, 8, 10)
    # The deeper path is convolved before it is upsampled.
    assert multiply_adds == (512 * 256 * 4 * 5 + 256 * 256 * 8 * 10) * 9


def test_two_scales_have_an_encoder_each():
    names = [name for name, *_ in described(image_scales=(1.2, 0.6))]
    assert [name for name in names if name.startswith("encoder")] == ["encoder.0", "encoder.1"]
    assert sum(name.startswith("decoder.adaptations.") for name in names) == 7


@pytest.mark.parametrize(("argument", "missing"), [("pooling_blocks", 4), ("head_rcus", 1)])
def test_part_that_is_not_there_is_not_listed(argument, missing):
    usual, without = ({name for name, *_ in described(**arguments)} for arguments in ({}, {argument: 0}))
    assert len(usual - without) == missing and without < usual


@pytest.mark.parametrize("cascade", [1, 2])
def test_shorter_cascade_has_fewer_blocks(cascade):
    assert sum(row[1] == "ChainedResidualPooling" for row in described(cascade=cascade)) == cascade


def test_other_networks_are_described_too():
    network = smp.FPN("resnet18", encoder_weights=None, classes=3)
    rows = describe(network, torch.zeros(1, 3, 64, 96))
    assert [row[0] for row in rows] == ["encoder", "decoder", "segmentation_head", "total"]
    assert rows[-1][2:4] == ((3, 64, 96), sum(parameter.numel() for parameter in network.parameters()))
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--height=0", "give a --height and a --width of 1 or more"),
        ("--network.cascade=7", "cascade is 7"),
        ("--network.encoder_name=resnet1010", "did you mean resnet101"),
    ],
)
def test_what_cannot_be_described_is_named_in_one_sentence(option, message):
    with pytest.raises(SystemExit, match=message):
        main(["describe", option])
