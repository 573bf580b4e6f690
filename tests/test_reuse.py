"""Runs that take the results of the same training under another name."""

import json
import shutil
from dataclasses import replace

import pytest
from running import SMALL, results, run

from refinenet_pl.cli.ablate import main as ablate
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.reuse import find_twin, has_begun, take_over

NAMED = ["--seed_everything=3", "--track=none"]


def named(run_: RunId) -> list[str]:
    return [*NAMED, f"--run.table={run_.table}", f"--run.cell={run_.cell}", f"--run.root={run_.root}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunId:
    finished = RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(tmp_path_factory.mktemp("runs")))
    run("fit", *SMALL, *named(finished))
    return finished


@pytest.fixture(scope="module")
def reused(trained) -> RunId:
    again = RunId("scenes", "rcu_removal", "paper", 3, trained.root)
    output = run("fit", *SMALL, *named(again), "--reuse=true", "--data.num_workers=1")
    assert f"the same as {trained.directory}" in output
    return again


def test_nothing_is_trained_and_the_record_says_where_it_was(trained, reused):
    record, original = results(reused), results(trained)
    assert record["trained_as"] == {"table": "chained_pooling", "cell": "pool_conv_4"}
    assert record["run"] == {"recipe": "scenes", "table": "rcu_removal", "cell": "paper", "seed": 3}
    assert record["config"]["run"]["cell"] == "paper"
    for key in ("evaluations", "curve", "training", "network", "git", "device"):
        assert record[key] == original[key]
    assert (reused.directory / "last.ckpt").samefile(trained.directory / "last.ckpt")
    assert {file.name for file in (reused.directory / "samples").iterdir()} == {
        file.name for file in (trained.directory / "samples").iterdir()
    }


def test_it_is_finished_and_can_be_tested_without_touching_the_other(trained, reused):
    before = trained.results_file.read_bytes()
    assert "finished already" in run("fit", *SMALL, *named(reused))
    run("test", *SMALL, *named(reused))
    assert "test" in results(reused)["evaluations"]
    assert trained.results_file.read_bytes() == before


def test_the_table_names_it(reused, capsys):
    arguments = ["rcu_removal", "--on", "scenes", "--root", reused.root, "--cells", "paper"]
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
def test_another_configuration_is_no_twin(trained, changed, value):
    config = json.loads(trained.results_file.read_text())["config"]
    other = RunId("scenes", "rcu_removal", "paper", 3, trained.root)
    config["run"] |= {"table": "rcu_removal", "cell": "paper"}
    assert find_twin(other, config) == trained
    inner = config
    for key in changed[:-1]:
        inner = inner[key]
    assert inner[changed[-1]] != value
    inner[changed[-1]] = value
    assert find_twin(other, config) is None


def test_damaged_moved_and_taken_records_are_no_twins(trained, reused, tmp_path):
    config = results(trained)["config"]
    root = tmp_path / "runs"
    for cell, text in {
        "damaged": "{",
        "moved": trained.results_file.read_text(),
        "paper": reused.results_file.read_text(),
    }.items():
        directory = RunId("scenes", "rcu_removal", cell, 3, str(root)).directory
        directory.mkdir(parents=True)
        (directory / "results.json").write_text(text)
    assert find_twin(RunId("scenes", "relu_placement", "paper", 3, str(root)), config) is None


@pytest.mark.parametrize("links", [True, False])
def test_taken_over_half_way_it_is_taken_over_again_and_begun_it_goes_on(trained, tmp_path, monkeypatch, links):
    def no_links(source, target):
        raise OSError("the file system has no links")

    if not links:
        monkeypatch.setattr("refinenet_pl.tracking.reuse.os.link", no_links)
    root = tmp_path / "runs"
    twin, mine = replace(trained, root=str(root)), RunId("scenes", "rcu_removal", "paper", 3, str(root))
    shutil.copytree(trained.root, root)
    shutil.rmtree(mine.directory.parents[1], ignore_errors=True)
    assert not has_begun(mine, twin)
    take_over(twin, mine, results(twin)["config"])
    kept = mine.results_file.read_bytes()
    mine.results_file.unlink()  # killed before the record was there
    assert not has_begun(mine, twin)
    take_over(twin, mine, results(twin)["config"])
    assert mine.results_file.read_bytes() == kept
    assert [file.name for file in mine.directory.iterdir() if file.name.startswith(".")] == []
    (mine.directory / "last.ckpt").unlink()
    (mine.directory / "last.ckpt").write_bytes(b"of its own")
    assert has_begun(mine, twin) and (twin.directory / "last.ckpt").read_bytes() != b"of its own"


def test_without_it_the_same_training_is_trained(trained):
    again = RunId("scenes", "relu_placement", "paper", 3, trained.root)
    run("fit", *SMALL, *named(again))
    assert "trained_as" not in results(again)
    assert results(again)["evaluations"]["val"]["confusion"] == results(trained)["evaluations"]["val"]["confusion"]
