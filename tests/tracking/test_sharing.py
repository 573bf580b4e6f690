"""Cells of several tables that are the same training are trained once."""

import json
import shutil
from dataclasses import replace

import pytest
from helpers.running import SMALL, results, run

from refinenet_pl.cli.ablate import run_command as ablate
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.sharing import find_same_training, share

NAMED = ["--seed_everything=3", "--track=none"]


def named(run_: RunId) -> list[str]:
    return [*NAMED, f"--run.table={run_.table}", f"--run.cell={run_.cell}", f"--run.root={run_.root}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunId:
    finished = RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(tmp_path_factory.mktemp("runs")))
    run("fit", *SMALL, *named(finished))
    return finished


@pytest.fixture(scope="module")
def shared(trained) -> RunId:
    again = RunId("scenes", "rcu_removal", "paper", 3, trained.root)
    output = run("fit", *SMALL, *named(again), "--data.num_workers=1")
    assert f"the same training as {trained.directory}" in output
    return again


def test_nothing_is_trained_and_the_record_says_where_it_was(trained, shared):
    record, original = results(shared), results(trained)
    assert record["trained_as"] == {"table": "chained_pooling", "cell": "pool_conv_4"}
    assert record["run"] == {"recipe": "scenes", "table": "rcu_removal", "cell": "paper", "seed": 3}
    assert record["config"]["run"]["cell"] == "paper"
    for key in ("evaluations", "curve", "training", "network", "git", "device"):
        assert record[key] == original[key]
    assert (shared.directory / "last.ckpt").samefile(trained.directory / "last.ckpt")
    assert {file.name for file in (shared.directory / "samples").iterdir()} == {
        file.name for file in (trained.directory / "samples").iterdir()
    }


def test_it_is_finished_and_can_be_tested_without_touching_the_other(trained, shared):
    before = trained.results_file.read_bytes()
    assert "finished already" in run("fit", *SMALL, *named(shared))
    run("test", *SMALL, *named(shared))
    assert "test" in results(shared)["evaluations"]
    assert trained.results_file.read_bytes() == before


def test_the_table_names_it(shared, capsys):
    arguments = ["rcu_removal", "--on", "scenes", "--root", shared.root, "--cells", "paper"]
    assert ablate(["table", *arguments]) == 0
    assert "as chained_pooling/pool_conv_4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        (("model", "learning_rate"), 0.5),
        (("model", "network", "init_args", "pooling_blocks"), 2),
        (("data", "dataset_options"), {"size": 64}),
        (("data", "root"), "other/pictures"),
        (("seed_everything",), 4),
        (("run", "recipe"), "camvid"),
    ],
)
def test_another_configuration_is_another_training(trained, changed, value):
    config = json.loads(trained.results_file.read_text())["config"]
    other = RunId("scenes", "rcu_removal", "paper", 3, trained.root)
    config["run"] |= {"table": "rcu_removal", "cell": "paper"}
    assert find_same_training(other, config) == trained
    inner = config
    for key in changed[:-1]:
        inner = inner[key]
    assert inner[changed[-1]] != value
    inner[changed[-1]] = value
    assert find_same_training(other, config) is None


def test_damaged_moved_and_shared_records_are_no_trainings(trained, shared, tmp_path):
    config = results(trained)["config"]
    root = tmp_path / "runs"
    for cell, text in {
        "damaged": "{",
        "moved": trained.results_file.read_text(),
        "paper": shared.results_file.read_text(),
    }.items():
        directory = RunId("scenes", "rcu_removal", cell, 3, str(root)).directory
        directory.mkdir(parents=True)
        (directory / "results.json").write_text(text)
    assert find_same_training(RunId("scenes", "relu_placement", "paper", 3, str(root)), config) is None


@pytest.mark.parametrize("links", [True, False])
def test_shared_half_way_it_is_shared_again_and_a_run_that_has_begun_is_not(trained, tmp_path, monkeypatch, links):
    def no_links(source, target):
        raise OSError("the file system has no links")

    if not links:
        monkeypatch.setattr("refinenet_pl.tracking.sharing.os.link", no_links)
    root = tmp_path / "runs"
    twin, mine = replace(trained, root=str(root)), RunId("scenes", "rcu_removal", "paper", 3, str(root))
    shutil.copytree(trained.root, root)
    shutil.rmtree(mine.directory.parents[1], ignore_errors=True)
    config = results(twin)["config"]
    assert find_same_training(mine, config) == twin
    share(twin, mine, config)
    kept = mine.results_file.read_bytes()
    mine.results_file.unlink()  # killed before the record was there
    assert find_same_training(mine, config) == twin
    share(twin, mine, config)
    assert mine.results_file.read_bytes() == kept
    assert [file.name for file in mine.directory.iterdir() if file.name.startswith(".")] == []
    (mine.directory / "last.ckpt").unlink()
    (mine.directory / "last.ckpt").write_bytes(b"of its own")
    assert find_same_training(mine, config) is None
    assert (twin.directory / "last.ckpt").read_bytes() != b"of its own"
