"""Activity of the ReLUs before chained residual pooling."""

import pytest
import torch
from helpers.memory import Memory, trainer
from helpers.networks import tiny
from helpers.running import fit
from helpers.tables import record

from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.metrics.dead_relu import PoolingActivity
from refinenet_pl.models.blocks import ChainedResidualPooling
from refinenet_pl.tasks.segmentation import SegmentationTask


@torch.no_grad()
def test_share_of_values_above_zero():
    model, expected = tiny().eval(), []
    units = [module for module in model.modules() if isinstance(module, ChainedResidualPooling)]
    for unit in units:
        unit.register_forward_pre_hook(lambda unit, inputs: expected.append((inputs[0] > 0).float().mean().item()))
    activity, image = PoolingActivity(model), torch.randn(2, 3, 64, 96)
    model(image)
    assert activity.compute().positive == []  # nothing is counted outside `counting`
    with activity.counting():
        model(image)
    assert activity.compute().positive == pytest.approx(expected[4:], abs=1e-6)
    assert len(units) == 4 and min(expected) > 0 and max(expected) < 1
    model(torch.randn(2, 3, 64, 96))
    assert activity.compute().positive == pytest.approx(expected[4:8], abs=1e-6)


def test_zero_is_not_active():
    activity = PoolingActivity(tiny(cascade=1))
    channels = activity.units[0].channels
    activity.update(0, torch.tensor([-1.0, 0.0, 0.0, 2.0]).expand(2, channels, 1, 4))
    assert activity.compute() == ([0.25], [0.0])


def test_dead_channels_have_no_positive_value_in_any_image():
    activity = PoolingActivity(tiny(cascade=1))
    values = torch.full((2, activity.units[0].channels, 3, 3), -1.0)
    values[1, 0, 2, 2] = 1
    activity.update(0, values)
    activity.update(0, values.roll(1, 1))
    assert activity.compute().dead == [1 - 2 / activity.units[0].channels]


@torch.no_grad()
@pytest.mark.parametrize(("arguments", "blocks"), [({"pooling_relu": False}, 0), ({"cascade": 1}, 1), ({}, 4)])
def test_finds_inactive_blocks_with_the_relu(arguments, blocks):
    model = tiny(**arguments).eval()
    if blocks == 4:
        model.decoder.blocks[1].fusion.register_forward_hook(lambda module, inputs, output: -output.abs() - 1)
    activity = PoolingActivity(model)
    with activity.counting():
        model(torch.randn(1, 3, 64, 64))
    assert [share > 0.05 for share in activity.compute().positive] == [block != 1 for block in range(blocks)]
    assert not list(activity.parameters())


@pytest.mark.filterwarnings("ignore:.*")
def test_counted_in_validations_of_a_training_with_one_view():
    task, runner, shares = SegmentationTask(tiny().eval(), 3, test_flip=True), trainer(max_epochs=1), []

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
    assert task.activity.counts[1].tolist() == values and min(values) > 0, "each validation counts only its own images"


def test_recorded_by_training(tmp_path):
    shares = fit(tmp_path / "usual", "--track=csv")["pooling_activity"]
    assert len(shares) == 4 and all(0 <= share <= 1 for share in shares) and any(shares)
    (logged,) = tmp_path.rglob("metrics.csv")
    assert "active_relu/block_4" in logged.read_text().splitlines()[0]
    assert fit(tmp_path / "without", "--model.network.init_args.pooling_relu=false")["pooling_activity"] == []


def test_table_warns_of_inactive_blocks(table_file, tmp_path):
    table = read_table(table_file)
    names = list(table.cells)[:2]
    for seed in (0, 1):
        record(table, names[0], seed, tmp_path, 0.5, pooling_activity=[0.3, 0.2, 0.06, 0.4])
        record(table, names[1], seed, tmp_path, 0.5, pooling_activity=[0.004, 0.2, [0.5, 0.03][seed], 0.4])
    (warning,) = build_report(table, "scenes", str(tmp_path), [0, 1], names).warnings
    assert warning.startswith(f"{names[1]} trained without block 1, 3 ") and names[0] not in warning
