"""The benchmark, on networks and pictures that take no time: that it measures what it says, not how fast they are."""

import csv
import json
import sys

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from benchmarks import changes, compare, measure, memory, pipeline
from benchmarks import run as benchmark
from benchmarks.contenders import CONTENDERS, Contender
from refinenet_pl.models.refinenet import RefineNet

CPU = torch.device("cpu")
SMALL = {"width": 8, "deepest_width": 8}
FEW = [
    Contender("RefineNet, ResNet-50", RefineNet, "tu-test_resnet", SMALL),
    Contender("FPN, ResNet-50", smp.FPN, "resnet18", {}),
]


@pytest.fixture
def few(monkeypatch):
    for module in (compare, changes):
        monkeypatch.setattr(module, "CONTENDERS", FEW)
    # Those that are timed in processes of their own, which know nothing of this.
    monkeypatch.setattr(changes, "FREED", ["RefineNet 32 wide, EfficientNet-Lite0"])
    monkeypatch.setattr(memory, "NETWORKS", [("RefineNet, small", {"encoder_name": "tu-test_resnet"} | SMALL, 5, 2)])
    monkeypatch.setattr(memory, "VARIANTS", [("image", True, False), ("score_map", True, True)])
    monkeypatch.setattr(memory, "SIDE", 64)
    monkeypatch.setattr(pipeline, "PICTURES", 8)
    monkeypatch.setattr(pipeline, "EPOCHS", 2)


def test_tasks_are_timed_in_turns_forwards_and_backwards():
    order = []
    tasks = {name: (lambda name=name: order.append(name)) for name in "abc"}
    seconds = measure.in_turns(tasks, CPU, rounds=3)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    assert measure.summary([0.003, 0.001, 0.0024]) == {"median_ms": 2.4, "least_ms": 1.0, "greatest_ms": 3.0}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of resident memory is read from /proc")
def test_peak_memory_is_that_of_the_task_and_the_weights():
    network = nn.Linear(2**12, 2**12)  # 64 MiB
    found = measure.peak_memory(lambda: torch.ones(64 * 2**20), network, CPU)
    assert found == pytest.approx((64 + 256) * 2**20, rel=0.1)
    # What the process held before does not count.
    torch.ones(128 * 2**20)
    assert measure.peak_memory(lambda: torch.ones(16 * 2**20), network, CPU) == pytest.approx(128 * 2**20, rel=0.15)


def test_what_is_kept_for_the_backward_pass_is_counted_once_and_without_weights():
    layer, x = nn.Linear(2**8, 2**8), torch.randn(2**10, 2**8)
    # The input and the output, kept by two operations; not the weights that the second product keeps as well.
    layers = nn.Sequential(layer, nn.Sigmoid(), layer)
    assert memory.kept_for_backward(lambda: layers(x).square().sum(), layers) == 3 * x.nbytes


def test_multiply_adds_are_counted():
    assert measure.multiply_adds(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(1, 3, 10, 20)) == 3 * 8 * 9 * 10 * 20


def test_contenders_are_those_that_the_readme_promises():
    names = " ".join(contender.name for contender in CONTENDERS)
    for name in ("Unet", "FPN", "PSPNet", "DeepLabV3Plus", "UPerNet", "Segformer", "Light-Weight", "ResNet-101", "Lite0"):
        assert name in names


def test_everything_is_measured_and_written(few, tmp_path, monkeypatch, capsys):
    output = tmp_path / "record.json"
    monkeypatch.setattr(benchmark, "START", {"python -m refinenet_pl --help": ["--help"]})
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--quick", *benchmark.PARTS, "--device", "cpu", "--output", str(output)])
    benchmark.main()
    printed = capsys.readouterr().out
    record = json.loads(output.read_text())
    assert {(row["network"], row["mode"], row["size"]) for row in record["networks"]} == {
        (contender.name, mode, 160) for contender in FEW for mode in ("inference", "training")
    }
    assert all(row["least_ms"] <= row["median_ms"] <= row["greatest_ms"] for row in record["networks"])
    assert all(row["multiply_adds"] > 0 and row["parameters"] > 0 for row in record["networks"])
    errors = [row["largest_difference"] for row in record["changes"] if row["change"] != changes.ALONE]
    assert len(errors) == 5 and all(0 <= error < 1e-4 for error in errors)
    assert [row["freed_memory"] for row in record["freed"]] == ["given back", "kept"]
    assert [row["loss_at"] for row in record["memory"]] == [variant[0] for variant in memory.VARIANTS]
    kept, made_anew = (row["kept_bytes"] for row in record["memory"])
    assert made_anew < kept
    assert all(row["samples_per_second"] > 0 for row in record["data"]["pipeline"])
    rows = list(csv.DictReader(output.with_suffix(".csv").open()))
    assert len(rows) == len(record["networks"]) + len(record["changes"])
    assert all(row["device"] == record["device"] and row["torch"] == torch.__version__.split("+")[0] for row in rows)
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--table", str(output)])
    benchmark.main()
    again = capsys.readouterr().out
    assert again.count("|") > 200 and again in printed


def test_a_part_measured_again_leaves_the_others_in_the_record(few, tmp_path, monkeypatch):
    output = tmp_path / "record.json"
    earlier = {"data": "kept", "git": {"data": {"revision": "0123456"}}, "peak_operations_per_second": 1.0}
    output.write_text(json.dumps(earlier))
    monkeypatch.setattr("benchmarks.tables.data", lambda record: record["data"])
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "parts", "--quick", "--device", "cpu", "--output", str(output)])
    benchmark.main()
    record = json.loads(output.read_text())
    assert record["data"] == "kept" and len(record["parts"]) == 24
    assert record["git"]["data"] == {"revision": "0123456"} and record["git"]["parts"].keys() >= {"revision", "dirty"}
    assert record["peak_operations_per_second"] == 1.0, "the other networks' shares are of the peak that was measured with them"
