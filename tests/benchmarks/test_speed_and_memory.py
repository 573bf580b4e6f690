"""Benchmarks at their smallest size: correctness of the measurements, not speed."""

import json
import sys

import pytest
import segmentation_models_pytorch as smp
import torch
from helpers.running import QUICK
from helpers.tables import rows
from torch import nn

from benchmarks import data, logging, measure, memory, processes, record, speed
from refinenet_pl.models.refinenet import RefineNet

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = {"width": 8, "deepest_width": 8}
NETWORKS = {"RefineNet": (RefineNet, "tu-test_resnet", SMALL), "FPN": (smp.FPN, "resnet18", {})}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="peak resident memory is read from /proc")


def test_timing_in_turns():
    order = []
    times = measure.in_turns({name: (lambda name=name: order.append(name)) for name in "abc"}, CPU, rounds=3)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc" and list(times) == ["a", "b", "c"]
    assert all(0 <= found["min_ms"] <= found["median_ms"] <= found["max_ms"] for found in times.values())


@LINUX
def test_peak_memory():
    network = nn.Linear(2**12, 2**12)  # 64 MiB
    found = measure.peak_memory(lambda: torch.ones(64 * 2**20), network, CPU)
    assert found == pytest.approx((64 + 256) * 2**20, rel=0.1)
    torch.ones(128 * 2**20)  # earlier peaks do not count
    assert measure.peak_memory(lambda: torch.ones(16 * 2**20), network, CPU) == pytest.approx(128 * 2**20, rel=0.15)


def test_memory_kept_for_backward():
    layer, x = nn.Linear(2**8, 2**8), torch.randn(2**10, 2**8)
    # Input, sigmoid output (saved by two operations) and final output; no weights.
    layers = nn.Sequential(layer, nn.Sigmoid(), layer)
    assert memory.kept_for_backward(lambda: layers(x).square().sum(), layers) == 3 * x.nbytes


def test_multiply_adds():
    assert measure.multiply_adds(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(1, 3, 10, 20)) == 3 * 8 * 9 * 10 * 20


def test_markdown_table():
    content = [{"network": "a", "peak_bytes": 3 * 2**29}, {"network": "b", "median_ms": 1609.15, "parameters": 27_400_000}]
    assert rows(record.table(content)) == [
        ["network", "peak", "median ms", "parameters"], ["a", "1.50 GiB", "", ""], ["b", "", "1609", "27.4 M"],
    ]  # fmt: skip


def test_speed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(speed, "NETWORKS", NETWORKS)
    output = tmp_path / "speed.json"
    found = speed.main(["--size=64", "--rounds=1", "--device=cpu", f"--output={output}"])
    assert json.loads(output.read_text()) == found and found["versions"]["torch"] and "revision" in found["git"]
    modes = [(mode, name) for mode in ("inference", "training") for name in NETWORKS]
    assert [(row["mode"], row["network"]) for row in found["networks"]] == modes
    inference = [row for row in found["changes"] if row["mode"] == "inference"]
    assert [row["change"] for row in found["changes"]] == [*speed.ON_CPU, "contiguous", "channels last"]
    assert inference[0]["times_as_fast"] == 1 and inference[0]["largest_difference"] == 0
    assert all(row["largest_difference"] < 1e-4 for row in inference)
    assert capsys.readouterr().out.count("| RefineNet") == 2 + 5


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_gpu_variants(mode, monkeypatch):
    monkeypatch.setattr(speed, "NETWORKS", NETWORKS)
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: lambda x: function(x) * 1)
    monkeypatch.setattr(speed, "ON_CPU", speed.ON_GPU)
    rows = speed.changes(CPU, mode, images=2, size=64, rounds=1)
    assert [row["change"] for row in rows] == list(speed.ON_GPU)
    if mode == "inference":
        errors = {row["change"]: row["largest_difference"] for row in rows}
        assert errors["channels last float32"] < 1e-4 < errors["channels last bfloat16"] < 0.1


def test_prepared_and_contiguous_steps():
    x, arguments = measure.noise(1, 32, CPU), ("tu-test_resnet", None)
    network, contiguous = (kind(*arguments, **SMALL).eval() for kind in (RefineNet, speed.ContiguousRefineNet))
    speed.step_of(contiguous, x, "inference", contiguous=True)()
    assert all(features.is_contiguous() for features in contiguous.features(x)[0])
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    speed.step_of(network, x, "inference", prepared=True)()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@LINUX
def test_memory(monkeypatch, tmp_path):
    small = {"encoder_name": "tu-test_resnet"} | SMALL
    monkeypatch.setattr(memory, "TRAINED", [small | {"classes": 5, "images": 2}])
    monkeypatch.setattr(memory, "VARIANTS", [memory.VARIANTS[1], memory.VARIANTS[4]])
    evaluated = small | {"chunked": False, "height": 64, "width_of_image": 96, "classes": 5, "tile": (32, 64), "flip": True}
    monkeypatch.setattr(memory, "EVALUATED", [evaluated])
    found = memory.main(["--size=64", "--device=cpu", f"--output={tmp_path}/memory.json"])
    image, recomputed = found["training"]
    assert image["loss_at"] == "image" and recomputed["checkpoint_activations"]
    assert 0 < recomputed["kept_bytes"] < image["kept_bytes"]
    assert all(row["peak_bytes"] > 0 and row["min_ms"] > 0 for row in found["training"])
    assert found["evaluation"][0]["peak_bytes"] > 0


def test_chunks_save_the_memory_of_the_scores(monkeypatch):
    monkeypatch.setattr(memory.chunked_upsampling, "CHUNK_BYTES", 2**16)
    row = {"encoder_name": "tu-test_resnet", "classes": 50, "images": 1, "size": 128} | SMALL
    row |= {"loss_at": "image", "checkpoint_activations": False}
    chunked, whole = (memory.train(row | {"chunked": chunked}, CPU)["kept_bytes"] for chunked in (True, False))
    assert whole - chunked > 0.9 * 50 * 128 * 128 * 4  # float32


def test_data(tmp_path):
    found = data.main(["--images=8", "--epochs=2", f"--output={tmp_path}/data.json"])
    assert [row["cores"] >= 1 and row["samples_per_second"] > 0 for row in found["pipeline"]] == [True, True]


def test_processes(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "SHARES", [(1, 1, 1), (1, 1, 2)])
    monkeypatch.setattr(processes, "EVALUATED", (1, 2))
    small = ["--model.network.init_args.width=8", "--model.network.init_args.deepest_width=8", "--data.crop_size=[32, 32]"]
    monkeypatch.setattr(processes, "SHARED", processes.SHARED + small)
    found = processes.main(["--steps=2", "--images=7", "--rounds=1", f"--output={tmp_path}/processes.json"])
    alone, accumulated = found["trained"]
    assert alone["steps"] == accumulated["steps"] == 2
    assert alone["largest_difference"] == 0 < accumulated["largest_difference"] < 1e-2
    assert alone["speed"] == 1 and len(accumulated["seconds"]) == 1
    assert [row["equal_confusion"] for row in found["evaluated"]] == [True, True]
    assert found["evaluated"][0]["pixels"] == found["evaluated"][1]["pixels"] > 0


def test_logging(monkeypatch, tmp_path):
    monkeypatch.setattr(logging, "RUN", [*QUICK, "--trainer.log_every_n_steps=1"])
    found = logging.main(["--repetitions=1", "--device=cpu", f"--output={tmp_path}/logging.json"])
    assert [row["track"] for row in found["times"]] == ["none", "csv", "wandb"] and found["times"][0]["ratio"] == 1
    logged = {row["section"]: row["logged"] for row in found["content"]}
    assert logged["train"] == 3 and logged["samples"] == 1 and logged["val_iou"] > 1, "three steps and a validation"
    sizes = {row["part"]: row["kilobytes"] for row in found["sizes"]}
    assert 0 < sizes["images"] < sizes["all"] and json.loads((tmp_path / "logging.json").read_text())["times"] == found["times"]
