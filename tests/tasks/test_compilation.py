"""Compiled networks: equal scores and checkpoints, and few compilations."""

import shutil
import warnings
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from helpers.files import write_noise
from helpers.networks import tiny
from helpers.repository import program
from helpers.running import PLAIN, SMALL, results, run
from PIL import Image
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.predictor import prepare
from refinenet_pl.models.ops.dropout import set_sample_seeds
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks import compilation
from refinenet_pl.tasks.compilation import SHAPES, compile_network
from refinenet_pl.tracking.identity import RunId

pytestmark = pytest.mark.slow

# A network that compiles quickly.
FEW_PARTS = {"cascade": 1, "path_rcus": 0, "head_rcus": 0, "pooling_blocks": 1}
LITTLE = [
    *SMALL, "--model.network.init_args.encoder_name=tu-test_resnet", "--model.network.init_args.encoder_weights=null",
    *(f"--model.network.init_args.{name}={value}" for name, value in FEW_PARTS.items()), "--data.evaluation_batch=1",
]  # fmt: skip


def little_network() -> RefineNet:
    return tiny("tu-test_resnet", dropout=0.5, **FEW_PARTS)


@pytest.fixture
def graphs(monkeypatch) -> CompileCounterWithBackend:
    """Counts compilations, which use torch's own kernels to be fast."""
    counter = CompileCounterWithBackend("aot_eager")
    compile = torch.compile
    monkeypatch.setattr(compilation.torch, "compile", lambda function, **options: compile(function, backend=counter, **options))
    torch.compiler.reset()
    return counter


def test_number_of_compilations_is_limited(graphs):
    network = little_network()
    names, plain = sorted(network.state_dict()), network.score_map
    compile_network(network)
    network.train()
    network.score_map(torch.randn(2, 3, 64, 64)).sum().backward()
    assert graphs.frame_count == 1 and network.segmentation_head[-1].weight.grad is not None
    network.eval()
    with torch.no_grad():
        for height, width in ((64, 64), (65, 97), (64, 64), (80, 48), (33, 70), (64, 65), (90, 90), (65, 97)):
            x = torch.randn(1, 3, height, width)
            torch.testing.assert_close(network.score_map(x), plain(x), rtol=1e-4, atol=1e-5)
    assert graphs.frame_count == SHAPES == 4
    assert sorted(network.state_dict()) == names


def test_compiled_dropout_is_seeded_by_sample(graphs):
    network = little_network()
    plain = network.score_map
    compile_network(network)
    network.train().encoder.eval()  # the only part with batch normalization
    x, scores = torch.randn(2, 3, 64, 64), []
    for function in (plain, network.score_map):
        for seeds in ([1, 2], [1, 3]):
            set_sample_seeds(network, seeds)
            scores.append(function(x))
    torch.testing.assert_close(scores[:2], scores[2:], rtol=1e-4, atol=1e-5)
    assert torch.allclose(scores[2][0], scores[3][0], atol=1e-5)
    assert not torch.allclose(scores[2][1], scores[3][1], atol=1e-3)
    assert graphs.frame_count == 1


def test_network_runs_uncompiled_without_compiler(monkeypatch):
    network, x = nn.Conv2d(3, 2, 1), torch.randn(1, 3, 4, 4)
    expected, compiled = network(x), Mock(side_effect=RuntimeError("No working C++ compiler found"))
    monkeypatch.setattr(compilation.torch, "compile", lambda function, **options: compiled)
    monkeypatch.setattr(compilation, "InductorError", RuntimeError)
    compile_network(network)
    with pytest.warns(UserWarning, match="cannot be compiled .No working C\\+\\+ compiler found"):
        assert torch.equal(network(x), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(network(x), expected)


def test_errors_of_the_network_are_raised(graphs):
    network = nn.Conv2d(3, 2, 1)
    compile_network(network)
    with pytest.raises(RuntimeError, match="expected input"):
        network(torch.randn(1, 4, 5, 5))


def test_fit_without_compiler_warns_once(tmp_path):
    environment = {"CXX": "/nonexistent", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    output = run("fit", *LITTLE, "--model.compile=true", "--trainer.fast_dev_run=1", launcher=PLAIN, **environment)
    assert output.count("the network cannot be compiled") == 1


def test_fit_test_and_predict_compiled(tmp_path):
    program("g++", "g++")
    options = [*LITTLE, '--data.dataset_options={"size": 64, "samples": 8}', f"--run.root={tmp_path}", "--trainer.max_epochs=1"]
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    for command in ("fit", "test"):
        assert "cannot be compiled" not in run(command, *options, "--model.compile=true", **cache)
    run_ = RunId("scenes", root=str(tmp_path))
    compiled = results(run_)
    run("test", *options)  # of the same run, uncompiled
    scores = [record["evaluations"]["test"]["confusion"] for record in (compiled, results(run_))]
    assert np.abs(np.subtract(*scores)).sum() <= 0.001 * np.sum(scores[0])  # a few pixels between two classes
    names = ["a.png", "bc.png", "def.png"]
    write_noise(tmp_path / "images", *names, size=(64, 64))  # the test images' size, whose code is in the cache
    checkpoint = run_.directory / "last.ckpt"
    assert load_for_prediction(checkpoint, compile=False)[0].hparams["compile"] is False
    masks = {}
    for value in ("true", "false"):
        arguments = [f"{tmp_path}/images", f"--ckpt_path={checkpoint}", f"--output={tmp_path / value}", f"--compile={value}"]
        assert "cannot be compiled" not in run("predict", *arguments, **cache)
        masks[value] = np.stack([np.array(Image.open(tmp_path / value / name)) for name in names])
    assert (masks["true"] != masks["false"]).mean() < 0.002
    shutil.rmtree(tmp_path / "cache")
    network = prepare(checkpoint, torch.device("cpu"), False, {}).task.network
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()), "prepared for inference"
