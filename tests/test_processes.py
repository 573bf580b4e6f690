"""The same numbers on any number of processes, however they are started."""

import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.running import SMALL, confusion, results, run, same, start, weights

from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.tracking.identity import RunId

# 37 pictures in batches of 2 divide evenly among no number of processes. Dropout, void pixels and heavier classes are what
# would make a difference; a step of 12 can be shared by 2, 3 and 4.
ARGUMENTS = [
    *SMALL,
    '--data.dataset_options={"size": 64, "samples": 37}',
    "--data.evaluation_batch=2",
    "--data.global_batch=12",
    "--model.network.init_args.dropout=0.5",
    "--model.encoder_learning_rate_factor=0.1",
    "--model.class_weights=[0.5, 1, 1, 1, 1, 2, 3, 1, 1, 5, 5]",
    "--trainer.accelerator=cpu",
    # In which another order of sums shows as 1e-15, not as 1e-6 that training makes larger with every step.
    "--trainer.precision=64-true",
]
TORCHRUN = (str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node=4", "-m")


def fit(root: Path, *more: str, **options) -> RunId:
    run("fit", *ARGUMENTS, *more, f"--run.root={root}", **options)
    return RunId("scenes", root=str(root))


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> RunId:
    """Trained by one process."""
    return fit(tmp_path_factory.mktemp("alone"))


def far(one: RunId, other: RunId) -> float:
    """Largest difference between two networks' weights."""
    there, here = weights(one), weights(other)
    return max(float((there[name] - here[name]).abs().max()) for name in there)


@pytest.mark.parametrize(
    ("more", "options"),
    [
        (["--trainer.devices=2"], {}),
        (["--trainer.devices=3", "--data.num_workers=1"], {}),
        ([], {"launcher": TORCHRUN}),
        (["--trainer.devices=2", "--trainer.accumulate_grad_batches=3"], {}),
    ],
    ids=["2 by Lightning", "3 by Lightning", "4 by torchrun", "2, three batches a step"],
)
def test_training_gives_the_same_network_on_any_number_of_processes(alone, tmp_path, more, options):
    together = fit(tmp_path, *more, **options)
    assert results(together)["world_size"] > 1
    assert results(together)["training"]["steps"] == results(alone)["training"]["steps"] == 6
    # The order of sums differs, nothing else.
    assert far(alone, together) < 1e-12
    assert confusion(together) == confusion(alone)


def test_two_nodes_train_the_same_network(alone, tmp_path):
    # Two launchers, as on two machines; each starts one process and knows of the other through the meeting point alone.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = f"--nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:{port} --rdzv-id=test -m".split()
    words = ["fit", *ARGUMENTS, f"--run.root={tmp_path}"]
    nodes = [start(*words, launcher=[TORCHRUN[0], "--local-addr=127.0.0.1", *meeting]) for _ in range(2)]
    outputs = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(outputs)
    together = RunId("scenes", root=str(tmp_path))
    assert results(together)["world_size"] == 2
    assert results(together)["config"]["trainer"]["num_nodes"] == 2
    assert far(alone, together) < 1e-12


def test_training_is_the_same_to_the_last_bit_with_any_number_of_workers(alone, tmp_path):
    assert same(weights(fit(tmp_path, "--data.num_workers=2")), weights(alone))


def test_evaluation_counts_each_pixel_once_on_any_number_of_processes(alone, tmp_path):
    shutil.copytree(alone.directory, tmp_path / "single@scenes/default/seed0")
    evaluated = RunId("scenes", root=str(tmp_path))
    found = {}
    for processes in 1, 2, 3, 4:
        run("validate", *ARGUMENTS, f"--trainer.devices={processes}", f"--run.root={tmp_path}")
        found[processes] = results(evaluated)["evaluations"]["val of best.ckpt"]
    labelled = sum(int((Scenes(split="val", size=64, samples=37).read(index)[1] != 255).sum()) for index in range(37))
    assert np.sum(found[1]["confusion"]) == labelled
    for processes in 2, 3, 4:
        assert found[processes]["confusion"] == found[1]["confusion"]
        assert found[processes]["loss"] == pytest.approx(found[1]["loss"], rel=1e-14)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (5, "a global batch of 12 cannot be shared by 5 processes: 12 / 5 = 2.40"),
        (24, "12 / 24 = 0.50"),
    ],
)
def test_devices_that_cannot_share_the_batch_are_refused_with_the_arithmetic(tmp_path, devices, message):
    output = run("fit", *ARGUMENTS, f"--trainer.devices={devices}", f"--run.root={tmp_path}/runs", code=1)
    assert message in output and "Traceback" not in output
    assert not list((tmp_path / "runs").rglob("config.yaml")), "nothing was begun"


def test_devices_other_than_those_launched_are_refused(tmp_path):
    launcher = [*TORCHRUN[:2], "--nproc-per-node=1", "-m"]
    output = run("fit", *ARGUMENTS, "--trainer.devices=2", f"--run.root={tmp_path}", code=1, launcher=launcher)
    assert "trainer.devices 2 x trainer.num_nodes 1 are not the 1 processes a node on 1 nodes that were launched" in output
