"""Errors of values against NumPy, and what all metrics of continuous targets have in common."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from refinenet_pl import dtypes
from refinenet_pl.metrics.depth import DepthErrors
from refinenet_pl.metrics.keypoints import KeypointAccuracy
from refinenet_pl.metrics.labels import LabelCounts
from refinenet_pl.metrics.normals import NormalErrors
from refinenet_pl.metrics.values import Errors, ValuesMetric

METRICS = {
    "values": lambda: Errors(["x", "y"]),
    "depth by image": lambda: DepthErrors("image", max_depth=2.0),
    "depth by pixel": lambda: DepthErrors("pixel", max_depth=2.0),
    "normals": NormalErrors,
    "keypoints": lambda: KeypointAccuracy(["head", "hand", "foot"]),
    "soft keypoints": lambda: KeypointAccuracy(["head", "hand", "foot"], "soft_argmax"),
    "labels": lambda: LabelCounts(["wet", "far"]),
}
CHANNELS = {
    "values": 2, "depth by image": 1, "depth by pixel": 1, "normals": 3, "keypoints": 3, "soft keypoints": 3, "labels": 2
}  # fmt: skip
# Images of each process.
SHARES = {2: [[0, 2, 3, 4, 6], [1, 5]], 3: [[], [5, 6, 0, 1], [3, 2, 4]], 4: [[0], [1, 2], [3, 6], [4, 5]]}


def data(kind: str, number: int = 7, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Positive predictions, targets and validity; one image is invalid as a whole, and others to different degrees."""
    generator = torch.Generator().manual_seed(seed)
    shape = (number, CHANNELS[kind], 9, 12)
    target = torch.rand(shape, generator=generator) * 2.5 + 0.1
    prediction = target * torch.empty(shape).normal_(0.1, 0.3, generator=generator).exp()
    share = torch.linspace(0.3, 1.0, number)[:, None, None, None]
    valid = torch.rand((number, 1, *shape[2:]), generator=generator) < share
    valid[2] = False
    return prediction, target, valid.expand(shape).clone()


def added(kind: str, *batches: tuple[Tensor, Tensor, Tensor]) -> ValuesMetric:
    metric = METRICS[kind]()
    for batch in batches:
        metric.update(*batch)
    return metric


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype == torch.float64 and expected.isfinite().all()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_errors_equal_numpy():
    prediction, target, valid = data("values")
    valid[:, 1] &= torch.rand(valid[:, 1].shape) < 0.5
    metric = Errors(["x", "y"])
    metric.update(prediction, target.where(valid, torch.nan), valid)
    chosen = [valid[:, channel].numpy() for channel in range(2)]
    errors = [(prediction.double() - target.double())[:, channel].numpy()[chosen[channel]] for channel in range(2)]
    mae, rmse = [np.abs(e).mean() for e in errors], [np.sqrt((e**2).mean()) for e in errors]
    np.testing.assert_allclose(metric.compute(), [mae, rmse], rtol=1e-12)
    found = metric.scores()
    assert found.mae == pytest.approx(np.mean(mae), rel=1e-12) and found.rmse == pytest.approx(np.mean(rmse), rel=1e-12)
    assert found.per_channel == {
        "mae": pytest.approx(dict(zip("xy", mae, strict=True))), "rmse": pytest.approx(dict(zip("xy", rmse, strict=True)))
    }  # fmt: skip


def test_mean_is_over_channels_with_valid_values():
    prediction, target = torch.full((1, 3, 2, 2), 3.0), torch.tensor([1.0, 2.0, torch.nan]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    valid = torch.ones(1, 3, 2, 2, dtype=torch.bool)
    valid[:, 2] = False
    valid[0, 0, 0, 0] = False  # fewer values, the same weight
    metric = Errors(["a", "b", "c"])
    metric.update(prediction, target, valid)
    errors = {"a": 2.0, "b": 1.0, "c": None}
    assert metric.scores().to_dict() == {"mae": 1.5, "rmse": 1.5, "per_channel": {"mae": errors, "rmse": errors}}


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("split", [[1] * 7, [3, 4], [2, 5], [6, 1]])
def test_equal_for_any_batches(kind, split):
    parts = list(zip(*(values.split(split) for values in data(kind)), strict=True))
    expected = added(kind, data(kind)).compute()
    assert_close(added(kind, *parts).compute(), expected)
    assert_close(added(kind, *reversed(parts)).compute(), expected)


def compute_shares(rank: int, folder: str, shares: list[list[int]]) -> None:
    """One of several processes, with different numbers of images."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(shares))
    found = {}
    for kind in METRICS:
        batch = data(kind)
        metric = added(kind, *([values[index : index + 1] for values in batch] for index in shares[rank]))
        found[kind] = metric.compute()
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("processes", SHARES)
def test_equal_on_any_number_of_processes(tmp_path: Path, processes):
    assert sorted(sum(SHARES[processes], [])) == list(range(7))
    # A forked process does not import everything again.
    method = "fork" if sys.platform == "linux" else "spawn"
    mp.start_processes(compute_shares, (str(tmp_path), SHARES[processes]), nprocs=processes, start_method=method)
    expected = {kind: added(kind, data(kind)).compute() for kind in METRICS}
    for rank in range(processes):
        found = torch.load(tmp_path / f"{rank}.pt")
        for kind in METRICS:
            assert_close(found[kind], expected[kind])


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_invalid_values_do_not_count(kind, bad):
    prediction, target, valid = data(kind)
    expected = added(kind, (prediction, target, valid)).compute()
    hidden = (prediction.where(valid, bad), target.where(valid, bad), valid)
    assert torch.equal(added(kind, hidden).compute(), expected)
    everything = added(kind, (prediction, target, torch.ones_like(valid)))
    assert not torch.equal(everything.compute(), expected)


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_refuses_predictions_that_are_not_finite(kind, bad):
    prediction, target, valid = data(kind)
    target = target.clamp(max=1.9)
    valid[0, :, 0, 0] = True
    prediction[0, 0, 0, 0] = bad
    with pytest.raises(FloatingPointError, match=r"^1 of \d+ predicted values are NaN or infinite"):
        added(kind, (prediction, target, valid))


@pytest.mark.parametrize("kind", METRICS)
def test_refuses_unusable_batches(kind):
    prediction, target, valid = data(kind)
    broken = target.clone()
    broken[valid] = torch.nan
    for batch, message in [
        ((prediction[..., :-1], target, valid), r"prediction \(7, ., 9, 11\), target \(7, ., 9, 12\) and valid"),
        ((prediction, target, valid[:, :1, :4]), "must have the same shape"),
        ((prediction[0], target[0], valid[0]), r"\(N, C, H, W\)"),
        ([values.repeat(1, 2, 1, 1) for values in (prediction, target, valid)], "channels; this metric expects"),
        ((prediction, target, valid.float()), "valid is torch.float32; it must be torch.bool"),
        ((prediction, broken, valid), "valid targets are NaN or infinite"),
    ]:
        metric = METRICS[kind]()
        with pytest.raises(ValueError, match=message):
            metric.update(*batch)
        assert not any(getattr(metric, name).any() for name in metric._defaults)


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_is_rounded_only_by_the_network(kind, dtype):
    prediction, target, valid = data(kind)
    prediction = prediction.to(dtype)
    found = added(kind, (prediction, target, valid)).compute()
    assert_close(found, added(kind, (prediction.double(), target, valid)).compute())


@pytest.mark.parametrize("kind", METRICS)
def test_sums_keep_their_dtype(kind):
    expected = added(kind, data(kind)).compute()
    owner = torch.nn.ModuleList([METRICS[kind]()])
    for converted in owner.to(torch.bfloat16), owner.half(), owner.to("cpu", torch.float16):
        converted[0].reset()
        converted[0].update(*data(kind))
        assert_close(converted[0].compute(), expected)


@pytest.mark.parametrize("kind", METRICS)
def test_sums_are_on_the_cpu_if_a_device_has_no_float64(kind, monkeypatch):
    assert METRICS[kind]().to("meta").device.type == "meta"
    monkeypatch.setattr(dtypes, "_WITHOUT_FLOAT64", ("meta",))
    metric = METRICS[kind]().to("meta")
    assert metric.device.type == "cpu"
    metric.update(*data(kind))
    assert_close(metric.compute(), added(kind, data(kind)).compute())


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_scores_are_none_without_valid_values(kind):
    prediction, target, valid = data(kind)
    for metric in METRICS[kind](), added(kind, (prediction, target, torch.zeros_like(valid))):
        assert metric.compute().isnan().all()
        scores = metric.scores()
        assert {getattr(scores, score.name) for score in scores.SCORES} == {None} and scores.known() == {}


@pytest.mark.parametrize("kind", METRICS)
def test_scores_are_plain_data_and_described(kind):
    scores = added(kind, data(kind)).scores()
    assert json.loads(json.dumps(scores.to_dict())) == scores.to_dict()
    fields = [field.name for field in dataclasses.fields(scores)]
    assert sorted(score.name for score in scores.SCORES) == sorted(name for name in fields if not name.startswith("per_"))
    assert {type(value) for value in scores.known().values()} == {float} and len(scores.known()) == len(scores.SCORES)
    assert all((score.unit == "%") == score.higher_is_better for score in scores.SCORES)


@pytest.mark.parametrize("kind", METRICS)
def test_reset_starts_again(kind):
    metric = added(kind, data(kind, seed=1))
    before = metric.compute()
    metric.reset()
    metric.update(*data(kind))
    assert_close(metric.compute(), added(kind, data(kind)).compute())
    assert not torch.equal(metric.compute(), before)
