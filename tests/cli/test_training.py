"""Commands fit, validate, test and predict on the built-in dataset, in separate processes."""

import csv

import numpy as np
import pytest
from helpers.running import SMALL, command, results, run

from refinenet_pl.cli.main import main
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.tracking.identity import RunId

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunId:
    """A finished run with an offline W&B record, without a key or a prompt."""
    finished = RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(tmp_path_factory.mktemp("runs")))
    home = str(tmp_path_factory.mktemp("home"))
    run(*command("fit", finished), WANDB_MODE=None, WANDB_API_KEY=None, HOME=home)
    return finished


def test_record_of_a_run(trained):
    files = {path.name for path in trained.directory.iterdir()}
    assert {"config.yaml", "results.json", "last.ckpt", "best.ckpt", "metrics", "wandb"} <= files
    record = results(trained)
    assert record["run"] == {"recipe": "scenes", "table": "chained_pooling", "cell": "pool_conv_4", "seed": 3}
    assert record["config"]["model"]["classes"] == record["config"]["model"]["network"]["init_args"]["classes"] == 11
    assert record["config"]["data"]["seed"] == 3
    assert record["training"]["epochs"] == 2 and record["training"]["steps"] == 6 and record["training"]["seconds"] > 0
    assert record["world_size"] == 1 and record["versions"]["torch"] and record["git"]["revision"]
    validation = record["evaluations"]["val"]
    labels = np.stack([Scenes(split="val", size=64, samples=24, seed=0).read(i)[1] for i in range(24)])
    assert np.sum(validation["confusion"]) == (labels != 255).sum()
    assert 0 <= validation["miou"] <= 1 and set(validation["iou"]) == set(Scenes.classes.names)
    rows = list(csv.DictReader((trained.directory / "metrics" / "train" / "version_0" / "metrics.csv").open()))
    logged = [float(row["val/miou"]) for row in rows if row.get("val/miou")]
    assert len(logged) == 2 and logged[-1] == pytest.approx(validation["miou"], abs=1e-6)


def test_finished_run_is_not_changed(trained):
    before = {path: path.stat().st_mtime_ns for path in trained.directory.rglob("*") if path.is_file()}
    assert "already finished" in run(*command("fit", trained))
    assert "model.learning_rate: 0.01 there, 0.5 now" in run(*command("fit", trained), "--model.learning_rate=0.5", code=1)
    assert {path: path.stat().st_mtime_ns for path in trained.directory.rglob("*") if path.is_file()} == before


def test_test_adds_scores_to_the_record(trained):
    output = run(*command("test", trained))
    evaluations = results(trained)["evaluations"]
    tested = evaluations["test"]
    assert tested["checkpoint"] == "best.ckpt" and tested["split"] == "test"
    assert {"test.csv", "test-confusion.png"} <= {path.name for path in trained.directory.iterdir()}
    assert f"{100 * tested['iou']['sky']:.1f}" in output and tested["confusion"] != evaluations["val"]["confusion"]


@pytest.mark.slow
def test_paper_protocol(tmp_path):
    options = [
        *SMALL, "--trainer.max_epochs=1", '--data.dataset_options={"size": 64, "samples": 3}', "--data.global_batch=2",
        "--data.test_split=val", f"--run.root={tmp_path}", "--model.test_scales=[0.1,0.2]",
    ]  # fmt: skip
    paper = RunId("scenes", root=str(tmp_path))
    run("fit", *options, "--model.protocol=paper", "--model.loss_at=score_map")
    evaluations = results(paper)["evaluations"]
    assert list(evaluations) == ["val", "val, multi-scale"]
    assert np.shape(evaluations["val"]["confusion"]) == (11, 12), "void can be predicted, and has no row"
    assert evaluations["val, multi-scale"]["inference"]["scales"] == [0.1, 0.2]
    run("test", *options, "--model.protocol=paper", "--model.loss_at=score_map")
    tested = results(paper)["evaluations"]["test, multi-scale"]
    assert tested["checkpoint"] == "last.ckpt", "the best one was selected on the test images"
    assert tested["confusion"] == evaluations["val, multi-scale"]["confusion"]
    assert (paper.directory / "test-multi-scale.csv").exists()
    # The same network with another protocol, which ignores the void output.
    run("test", *options, "--model.void_output=true", "--model.test_scales=[1.0]")
    assert np.shape(results(paper)["evaluations"]["test"]["confusion"]) == (11, 11)
    assert "last.ckpt: its network is not the one of the configuration" in run("test", *options, code=1)


def test_unknown_command(capsys):
    with pytest.raises(SystemExit, match="(?s)usage.*fit.*predict.*unknown command 'train'"):
        main(["train"])
