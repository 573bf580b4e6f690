"""One training for cells of several tables with equal configurations."""

import shutil
from dataclasses import replace
from functools import reduce

import pytest
from helpers.running import command, results, run

from refinenet_pl.cli.ablate import run_command as ablate
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.sharing import find_same_training, share

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunId:
    finished = RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(tmp_path_factory.mktemp("runs")))
    run(*command("fit", finished, "--track=none"))
    return finished


@pytest.fixture(scope="module")
def shared(trained) -> RunId:
    second = RunId("scenes", "rcu_removal", "paper", 3, trained.root)
    output = run(*command("fit", second, "--track=none"), "--data.num_workers=1")
    assert f"the same training as {trained.directory}" in output
    return second


def test_shared_run(trained, shared, capsys):
    record, original, content = results(shared), results(trained), trained.results_file.read_bytes()
    assert record["trained_as"] == {"table": "chained_pooling", "cell": "pool_conv_4"}
    assert record["run"] == {"recipe": "scenes", "table": "rcu_removal", "cell": "paper", "seed": 3}
    assert record["config"]["run"]["cell"] == "paper"
    for key in ("evaluations", "curve", "training", "network", "git", "device"):
        assert record[key] == original[key]
    assert (shared.directory / "last.ckpt").samefile(trained.directory / "last.ckpt")
    assert len({str(sorted(file.name for file in run_.directory.glob("samples/*"))) for run_ in (trained, shared)}) == 1
    assert ablate(["table", "rcu_removal", "--on", "scenes", "--root", shared.root, "--cells", "paper"]) == 0
    assert "as chained_pooling/pool_conv_4" in capsys.readouterr().out
    run(*command("test", shared, "--track=none"))
    assert "test" in results(shared)["evaluations"] and trained.results_file.read_bytes() == content


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("model.learning_rate", 0.5),
        ("model.network.init_args.pooling_blocks", 2),
        ("data.dataset_options", {"size": 64}),
        ("data.root", "other/images"),
        ("seed_everything", 4),
        ("run.recipe", "camvid"),
    ],
)
def test_other_configurations_are_other_trainings(trained, changed, value):
    config = results(trained)["config"]
    other = RunId("scenes", "rcu_removal", "paper", 3, trained.root)
    config["run"] |= {"table": "rcu_removal", "cell": "paper"}
    assert find_same_training(other, config) == trained
    *path, last = changed.split(".")
    reduce(dict.__getitem__, path, config)[last] = value
    assert find_same_training(other, config) is None


def test_damaged_moved_and_shared_records_are_ignored(trained, shared, tmp_path):
    records = {"damaged": "{", "moved": trained.results_file.read_text(), "paper": shared.results_file.read_text()}
    for cell, text in records.items():
        file = RunId("scenes", "rcu_removal", cell, 3, str(tmp_path)).results_file
        file.parent.mkdir(parents=True)
        file.write_text(text)
    run_ = RunId("scenes", "relu_placement", "paper", 3, str(tmp_path))
    assert find_same_training(run_, results(trained)["config"]) is None


@pytest.mark.parametrize("links", [True, False])
def test_interrupted_sharing_is_repeated_but_started_runs_are_kept(trained, tmp_path, monkeypatch, links):
    def no_links(source, target):
        raise OSError("the file system has no links")

    if not links:
        monkeypatch.setattr("refinenet_pl.tracking.sharing.os.link", no_links)
    root = tmp_path / "runs"
    twin, own = replace(trained, root=str(root)), RunId("scenes", "rcu_removal", "paper", 3, str(root))
    shutil.copytree(trained.root, root)
    shutil.rmtree(own.directory.parents[1], ignore_errors=True)
    config = results(twin)["config"]
    assert find_same_training(own, config) == twin
    share(twin, own, config)
    record = own.results_file.read_bytes()
    own.results_file.unlink()  # as if killed before the record was written
    assert find_same_training(own, config) == twin
    share(twin, own, config)
    assert own.results_file.read_bytes() == record
    assert not list(own.directory.glob(".*"))
    (own.directory / "last.ckpt").unlink()
    (own.directory / "last.ckpt").write_bytes(b"own checkpoint")
    assert find_same_training(own, config) is None
    assert (twin.directory / "last.ckpt").read_bytes() != b"own checkpoint"
