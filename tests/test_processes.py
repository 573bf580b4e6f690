"""Equal results on any number of processes and with any launcher."""

import json
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.running import SMALL, confusion, results, run, same, start, weights

from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.tracking.identity import RunId

pytestmark = pytest.mark.integration

# Dropout, void pixels, class weights and 37 images in batches of 2 could make a difference; 12 is divisible by 2, 3 and 4.
# In double precision, another order of sums changes weights by 1e-15, not by 1e-6, which grows with every step.
ARGUMENTS = [
    *SMALL, '--data.dataset_options={"size": 64, "samples": 37}', "--data.evaluation_batch=2", "--data.global_batch=12",
    "--model.network.init_args.dropout=0.5", "--model.encoder_learning_rate_factor=0.1",
    "--model.class_weights=[0.5, 1, 1, 1, 1, 2, 3, 1, 1, 5, 5]", "--trainer.accelerator=cpu", "--trainer.precision=64-true",
]  # fmt: skip
TORCHRUN = (str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node=4", "-m")


def fit(root: Path, *more: str, **options) -> RunId:
    run("fit", *ARGUMENTS, *more, f"--run.root={root}", **options)
    return RunId("scenes", root=str(root))


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> RunId:
    """A run of one process."""
    return fit(tmp_path_factory.mktemp("single"))


def max_difference(one: RunId, other: RunId) -> float:
    first, second = weights(one), weights(other)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.parametrize(
    ("more", "launcher"),
    [
        pytest.param(["--trainer.devices=2"], (), id="2"),
        pytest.param(["--trainer.devices=3", "--data.num_workers=1"], (), id="3", marks=pytest.mark.slow),
        pytest.param([], TORCHRUN, id="4 by torchrun", marks=pytest.mark.slow),
        pytest.param(["--trainer.devices=2", "--trainer.accumulate_grad_batches=3"], (), id="2, accumulated"),
    ],
)
def test_training_is_equal_on_any_number_of_processes(single, tmp_path, more, launcher):
    several = fit(tmp_path, *more, launcher=launcher)
    assert results(several)["world_size"] > 1
    assert results(several)["training"]["steps"] == results(single)["training"]["steps"] == 6
    assert max_difference(single, several) < 1e-12
    assert confusion(several) == confusion(single)


@pytest.mark.slow
def test_losses_of_images_and_regions_are_equal_on_any_number_of_processes(tmp_path):
    loss = "--model.loss={cross_entropy: 1, dice: 1, lovasz: 1, ohem: 1}"
    one = fit(tmp_path / "one", loss)
    two = fit(tmp_path / "two", loss, "--trainer.devices=2", "--trainer.accumulate_grad_batches=3")
    assert results(two)["world_size"] == 2 and max_difference(one, two) < 1e-12
    assert confusion(one) == confusion(two)


@pytest.mark.slow
def test_training_is_equal_on_two_nodes(single, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:{port} --rdzv-id=test -m".split()
    launcher = [TORCHRUN[0], "--local-addr=127.0.0.1", *options]
    nodes = [start("fit", *ARGUMENTS, f"--run.root={tmp_path}", launcher=launcher) for _ in range(2)]
    outputs = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(outputs)
    several = RunId("scenes", root=str(tmp_path))
    assert results(several)["world_size"] == results(several)["config"]["trainer"]["num_nodes"] == 2
    assert max_difference(single, several) < 1e-12


def test_training_is_bit_equal_with_any_number_of_workers(single, tmp_path):
    assert same(weights(fit(tmp_path, "--data.num_workers=2")), weights(single))


def test_evaluation_is_equal_on_any_number_of_processes(single, tmp_path):
    evaluated = RunId("scenes", root=str(tmp_path))
    shutil.copytree(single.directory, evaluated.directory)
    found = {}
    path = "torchmetrics.classification.MulticlassJaccardIndex"
    metric = {"jaccard": {"class_path": path, "init_args": {"num_classes": 11, "ignore_index": 255}}}
    for processes in 1, 2, 3, 4:
        run(
            "validate",
            *ARGUMENTS,
            f"--model.metrics={json.dumps(metric)}",
            f"--trainer.devices={processes}",
            f"--run.root={tmp_path}",
        )
        found[processes] = results(evaluated)["evaluations"]["val of best.ckpt"]
    masks = [Scenes(split="val", size=64, samples=37).read(index)[1] for index in range(37)]
    assert np.sum(found[1]["confusion"]) == sum(int((mask != 255).sum()) for mask in masks)
    for processes in 2, 3, 4:
        assert found[processes]["confusion"] == found[1]["confusion"]
        assert found[processes]["loss"] == pytest.approx(found[1]["loss"], rel=1e-14)
        assert found[processes]["metrics"] == found[1]["metrics"]
    assert found[1]["metrics"]["jaccard"]["value"] == pytest.approx(found[1]["miou"], rel=1e-5)


def test_launcher_with_another_number_of_processes_is_refused(tmp_path):
    launcher = [*TORCHRUN[:2], "--nproc-per-node=1", "-m"]
    output = run("fit", *ARGUMENTS, "--trainer.devices=2", f"--run.root={tmp_path}", code=1, launcher=launcher)
    assert "trainer.devices 2" in output and "1 processes per node" in output
