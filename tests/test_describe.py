"""The command that prints a network part by part."""

import re

import pytest
import torch

from refinenet_pl.cli.main import main
from refinenet_pl.models.describe import describe
from refinenet_pl.models.refinenet import RefineNet


def printed(capsys, *options: str) -> list[list[str]]:
    """The cells of each row that the command prints, the ruler left out."""
    main(["describe", *options])
    lines = capsys.readouterr().out.rstrip().splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in lines if not line.startswith("---")]


def network(**arguments) -> RefineNet:
    with torch.device("meta"):
        return RefineNet("resnet50", None, **arguments)


def test_table_of_the_published_network(capsys):
    header, *rows, total = printed(capsys, "--network.encoder_name=resnet50")
    assert header == ["block", "part", "output", "parameters", "GMAC"]
    assert total[:2] == ["total", "99,060,309"]
    assert float(total[2]) == pytest.approx(243.5, abs=0.1)
    assert rows[0][:4] == ["encoder", "resnet50 at scale 1", "2048 x 16 x 16", "23,508,032"]
    assert rows[1][:4] == ["RefineNet-4", "path 1/32: adaptation", "512 x 16 x 16", "9,437,184"]
    assert rows[-1][:3] == ["classifier", "21 x 128 x 128", "48,405"]
    blocks = [row[0] for row in rows if row[0].startswith("RefineNet-") and len(row) == 5]
    assert blocks == ["RefineNet-4", "RefineNet-3", "RefineNet-2", "RefineNet-1"]
    assert sum(int(row[-2].replace(",", "")) for row in rows) == 99_060_309
    assert sum(float(row[-1]) for row in rows) == pytest.approx(float(total[2]), abs=0.02)


def test_size_of_the_picture_sets_the_cost(capsys):
    totals = [printed(capsys, "--network.encoder_name=resnet18", *size)[-1] for size in ([], ["--height=256", "--width=1024"])]
    assert totals[0] == totals[1]
    smaller = printed(capsys, "--network.encoder_name=resnet18", "--height=256")[-1]
    assert float(smaller[2]) == pytest.approx(float(totals[0][2]) / 2, rel=1e-3)


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
    described = network(**arguments)
    parts = describe(described, 97, 131)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in described.parameters())
    assert all(part.parameters > 0 and part.multiply_adds > 0 for part in parts)


def test_multiply_adds_of_a_part_are_its_weights_times_its_places():
    parts = {(part.block, part.part): part for part in describe(network(), 128, 160)}
    adaptation = parts["RefineNet-1", "path 1/4: adaptation"]
    assert adaptation.shape == (256, 32, 40)
    assert adaptation.multiply_adds == 256 * 256 * 9 * 32 * 40
    fusion = parts["RefineNet-3", "multi-resolution fusion"]
    assert fusion.shape == (256, 8, 10)
    # The deeper path is convolved before it grows.
    assert fusion.multiply_adds == (512 * 256 * 4 * 5 + 256 * 256 * 8 * 10) * 9


def test_two_scales_are_told_apart(capsys):
    rows = printed(capsys, "--network.encoder_name=resnet50", "--network.image_scales=[1.2, 0.6]")
    text = [" ".join(row) for row in rows]
    assert sum("adaptation" in row for row in text) == 7
    assert sum(row.startswith(("encoder resnet50 at scale 1.2", "resnet50 at scale 0.6")) for row in text) == 2
    assert any("path 1/16 of scale 0.6: adaptation" in row for row in text)


@pytest.mark.parametrize(
    ("option", "missing"), [("--network.pooling_blocks=0", "pooling"), ("--network.head_rcus=0", "head  RCU")]
)
def test_part_that_is_not_there_is_not_listed(capsys, option, missing):
    usual = printed(capsys, "--network.encoder_name=resnet18")
    without = printed(capsys, "--network.encoder_name=resnet18", option)
    assert len(without) == len(usual) - (4 if missing == "pooling" else 1)
    assert not any(missing in " ".join(row) for row in without)


@pytest.mark.parametrize(("cascade", "blocks"), [(1, 1), (2, 2)])
def test_shorter_cascade_has_fewer_blocks(capsys, cascade, blocks):
    rows = printed(capsys, "--network.encoder_name=resnet18", f"--network.cascade={cascade}")
    assert sum("chained residual pooling" in " ".join(row) for row in rows) == blocks
    assert any(f"RefineNet-{blocks}" in row for row in rows)


def test_hooks_are_taken_off_again():
    described = network()
    describe(described, 64, 64)
    assert not any(module._forward_hooks for module in described.modules())


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
