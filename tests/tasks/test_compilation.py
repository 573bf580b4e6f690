"""`compile: true`: the same scores, few compilations, checkpoints as without."""

import shutil
import warnings

import numpy as np
import pytest
import torch
from helpers.repository import program
from helpers.running import SMALL, results, run
from PIL import Image
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli import predict
from refinenet_pl.models.ops.pooling import _pool, _pool_backward, pool
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks import compilation
from refinenet_pl.tasks.compilation import SHAPES, compile_network
from refinenet_pl.tracking.identity import RunId

# A network that torch.compile is soon done with.
FEW_PARTS = {"cascade": 1, "path_rcus": 0, "head_rcus": 0, "pooling_blocks": 1}
LITTLE = [
    *SMALL,
    "--model.network.init_args.encoder_name=tu-test_resnet",
    "--model.network.init_args.encoder_weights=null",
    *(f"--model.network.init_args.{name}={value}" for name, value in FEW_PARTS.items()),
    "--data.evaluation_batch=1",
]


def little_network() -> RefineNet:
    options = {"width": 8, "deepest_width": 8, "classes": 3, "dropout": 0.5, "decoder_init": "scaled"}
    return RefineNet("tu-test_resnet", None, **options, **FEW_PARTS)


@pytest.fixture
def graphs(monkeypatch) -> CompileCounterWithBackend:
    """Counts what is compiled; with torch's own kernels, which are made in an instant."""
    counter = CompileCounterWithBackend("aot_eager")
    real = torch.compile
    monkeypatch.setattr(compilation.torch, "compile", lambda function, **options: real(function, backend=counter, **options))
    torch.compiler.reset()
    return counter


def test_many_sizes_are_few_compilations(graphs):
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
    assert graphs.frame_count == SHAPES == 4  # one and three more
    assert sorted(network.state_dict()) == names


def test_sample_dropout_is_the_same_compiled(graphs):
    from refinenet_pl.models.ops.dropout import set_sample_seeds

    network = little_network()
    plain = network.score_map
    compile_network(network)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    x = torch.randn(2, 3, 64, 64)
    found = []
    for function in (plain, network.score_map):
        for seeds in ([1, 2], [1, 3]):
            set_sample_seeds(network, seeds)
            found.append(function(x))
    torch.testing.assert_close(found[:2], found[2:], rtol=1e-4, atol=1e-5)
    assert torch.allclose(found[2][0], found[3][0], atol=1e-5) and not torch.allclose(found[2][1], found[3][1], atol=1e-3)
    assert graphs.frame_count == 1


def test_without_a_compiler_one_warning_and_the_same_scores(monkeypatch):
    class Broken(RuntimeError):
        pass

    def no_compiler(function, **options):
        def fail(x):
            raise Broken("No working C++ compiler found")

        return fail

    network = nn.Conv2d(3, 2, 1)
    x = torch.randn(1, 3, 4, 4)
    expected = network(x)
    monkeypatch.setattr(compilation.torch, "compile", no_compiler)
    monkeypatch.setattr(compilation, "InductorError", Broken)
    compile_network(network)
    with pytest.warns(UserWarning, match="cannot be compiled .No working C\\+\\+ compiler found.; it goes on without"):
        assert torch.equal(network(x), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(network(x), expected)


def test_errors_of_the_network_itself_are_not_hidden(graphs):
    network = nn.Conv2d(3, 2, 1)
    compile_network(network)
    with pytest.raises(RuntimeError, match="expected input"):
        network(torch.randn(1, 4, 5, 5))


def test_a_run_without_a_compiler_goes_on(tmp_path):
    environment = {"CXX": "/nonexistent", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    printed = run("fit", *LITTLE, "--model.compile=true", "--trainer.fast_dev_run=1", **environment)
    assert printed.count("the network cannot be compiled") == 1


def test_fit_test_and_predict_compiled(tmp_path):
    program("g++", "g++")
    root, few = f"--run.root={tmp_path}", '--data.dataset_options={"size": 64, "samples": 8}'
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    for command in ("fit", "test"):
        printed = run(command, *LITTLE, few, root, "--model.compile=true", "--trainer.max_epochs=1", **cache)
        assert "cannot be compiled" not in printed
    # The same run may go on, and be scored, without; and what it left is an ordinary checkpoint.
    run_ = RunId("scenes", root=str(tmp_path))
    compiled = results(run_)
    run("test", *LITTLE, few, root, "--trainer.max_epochs=1")
    scores = [record["evaluations"]["test"]["confusion"] for record in (compiled, results(run_))]
    assert np.abs(np.subtract(*scores)).sum() <= 0.001 * np.sum(scores[0])  # a few pixels between two classes
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        # Of the size of the test's pictures, whose code is in the cache.
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.png")
    checkpoint = run_.directory / "last.ckpt"
    assert load_for_prediction(checkpoint, compile=False)[0].hparams.compile is False
    masks = {}
    for value in ("true", "false"):
        output = tmp_path / value
        words = ("predict", str(pictures), "--ckpt_path", str(checkpoint), "--output", str(output), "--compile", value)
        assert "cannot be compiled" not in run(*words, **cache)
        masks[value] = [np.array(Image.open(output / f"{number}.png")) for number in range(3)]
    for one, other in zip(masks["true"], masks["false"], strict=True):
        assert (one != other).mean() < 0.002
    shutil.rmtree(tmp_path / "cache")
    task, _, _ = predict.prepare(checkpoint, "cpu", False, {})
    assert not any(isinstance(module, nn.BatchNorm2d) for module in task.network.modules()), "prepared"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_for_the_compiler_is_pooling(layout):
    x = torch.randn(2, 3, 9, 7).contiguous(memory_format=layout).requires_grad_()
    torch.library.opcheck(_pool, (x,))
    values, indices = _pool(x)
    torch.library.opcheck(_pool_backward, (torch.randn_like(values), x.detach(), indices))
    weight = torch.randn_like(values)
    (own,) = torch.autograd.grad((values * weight).sum(), x)
    (expected,) = torch.autograd.grad((pool(x) * weight).sum(), x)
    assert torch.equal(values, pool(x)) and torch.equal(own, expected)
