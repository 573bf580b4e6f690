"""How much the ReLUs before chained residual pooling let through."""

import json

import pytest
import torch
from helpers.memory import Memory, trainer
from helpers.running import SMALL, run
from helpers.tables import TABLE, record

from refinenet_pl import RefineNet
from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.metrics.dead_relu import PoolingActivity
from refinenet_pl.models.blocks import ChainedResidualPooling
from refinenet_pl.tasks.segmentation import SegmentationTask


def network(**arguments) -> RefineNet:
    small = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3, "width": 8, "deepest_width": 8, "dropout": 0.0}
    return RefineNet(**small | arguments).eval()


@torch.no_grad()
def test_share_is_that_of_the_values_above_zero():
    model, expected = network(), []
    units = [module for module in model.modules() if isinstance(module, ChainedResidualPooling)]
    for unit in units:
        unit.register_forward_pre_hook(lambda unit, inputs: expected.append((inputs[0] > 0).float().mean().item()))
    activity = PoolingActivity(model)
    picture = torch.randn(2, 3, 64, 96)
    model(picture)
    assert activity.compute() == []  # nothing was counted yet
    with activity.counting():
        model(picture)
    assert activity.compute() == pytest.approx(expected[4:], abs=1e-6)
    assert len(units) == 4 and min(expected) > 0 and max(expected) < 1
    model(torch.randn(2, 3, 64, 96))  # not within
    assert activity.compute() == pytest.approx(expected[4:8], abs=1e-6)


@torch.no_grad()
def test_a_block_pushed_below_zero_is_found_by_its_place():
    model = network()
    model.decoder.blocks[1].fusion.register_forward_hook(lambda module, inputs, output: -output.abs() - 1)
    activity = PoolingActivity(model)
    with activity.counting():
        model(torch.randn(1, 3, 64, 64))
    shares = activity.compute()
    assert shares[1] == 0 and all(share > 0.05 for place, share in enumerate(shares) if place != 1)


@torch.no_grad()
@pytest.mark.parametrize("arguments", [{"pooling_relu": False}, {"cascade": 1}])
def test_blocks_without_that_relu_are_not_counted(arguments):
    model = network(**arguments)
    activity = PoolingActivity(model)
    with activity.counting():
        model(torch.randn(1, 3, 64, 64))
    assert len(activity.compute()) == (0 if "pooling_relu" in arguments else 1)
    assert not list(activity.parameters())


@pytest.mark.filterwarnings("ignore:.*")
def test_validations_count_that_belong_to_a_training_and_see_one_view():
    task, runner, shares = SegmentationTask(network(), 3, test_flip=True), trainer(max_epochs=1), []

    def validate():
        runner.validate(task, datamodule=Memory(), verbose=False)
        shares.append(len(task.results["val"].pooling_activity))

    with task.viewing(task.training_inference):
        validate()
    runner.fit(task, datamodule=Memory())
    shares.append(len(task.results["val"].pooling_activity))
    values = task.activity.counts[1].tolist()
    validate()
    with task.viewing(task.training_inference):
        validate()
        validate()
    assert shares == [0, 4, 0, 4, 4]
    assert task.activity.counts[1].tolist() == values and min(values) > 0, "each validation counts its own images alone"


def test_a_training_records_it(tmp_path):
    options = ["--track=csv", f"--run.root={tmp_path}"]
    run("fit", *SMALL, *options)
    directory = tmp_path / "single@scenes/default/seed0"
    shares = json.loads((directory / "results.json").read_text())["pooling_activity"]
    assert len(shares) == 4 and all(0 <= share <= 1 for share in shares) and any(shares)
    (logged,) = directory.glob("metrics/**/metrics.csv")
    assert "val/active/block_4" in logged.read_text().splitlines()[0]
    run("fit", *SMALL, *options, "--run.cell=none", "--model.network.init_args.pooling_relu=false")
    assert json.loads((tmp_path / "single@scenes/none/seed0/results.json").read_text())["pooling_activity"] == []


def test_a_table_warns_of_silent_blocks(tmp_path):
    file = tmp_path / "table.yaml"
    file.write_text(TABLE)
    table = read_table(file)
    names = list(table.cells)[:2]
    for seed in (0, 1):
        record(table, names[0], seed, tmp_path, 0.5, pooling_activity=[0.3, 0.2, 0.06, 0.4])
        record(table, names[1], seed, tmp_path, 0.5, pooling_activity=[0.004, 0.2, [0.5, 0.03][seed], 0.4])
    (warning,) = build_report(table, "scenes", str(tmp_path), [0, 1], names).warnings
    assert warning.startswith(f"{names[1]} trained without block 1, 3 (1 is the deepest; seed 0, 1): the ReLU")
    assert "at most 3.0 %" in warning and names[0] not in warning
