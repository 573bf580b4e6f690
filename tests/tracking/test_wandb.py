"""What W&B gets to know, read back from its own files and from a server that its own client talks to."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import wandb_server
from helpers.repository import REPOSITORY
from helpers.running import SMALL, kill_at, results, run, start

from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.exit_codes import STOPPED
from refinenet_pl.tracking.identity import RunId

WANDB = Path(sys.executable).parent / "wandb"
FIT = [
    "fit",
    *SMALL,
    "--trainer.log_every_n_steps=1",
    "--seed_everything=3",
    "--run.table=chained_pooling",
    "--run.cell=pool_conv_2",
]
OFFLINE = {"WANDB_MODE": None, "WANDB_API_KEY": None}


def inspect(folder: Path) -> list[dict]:
    """The records of an offline run, in the order in which they were written."""
    read = subprocess.run([WANDB, "leet", "inspect", "--json", folder], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in read.stdout.splitlines()]


def summary(folder: Path) -> dict:
    read = subprocess.run([WANDB, "leet", "inspect", "--summary", "--json", folder], capture_output=True, text=True, check=True)
    return json.loads(read.stdout)


def logged(folders: list[Path]) -> list[tuple[str, int]]:
    """(name, training step) of each value that was logged."""
    rows = [record["history"]["item"] for folder in folders for record in inspect(folder) if record["type"] == "history"]
    beside = ("epoch", "trainer/global_step")  # which stand beside every value
    return [(name, row["trainer/global_step"]) for row in rows for name in row if name[0] != "_" and name not in beside]


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory) -> RunId:
    """Two processes, without a key, told to stop in the middle and started again; scored at two scales in the end."""
    root, home = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("home")
    arguments = [
        *FIT, "--run.cell=pool_conv_4", f"--run.root={root}", "--trainer.devices=2", "--trainer.accelerator=cpu",
        '--data.dataset_options={"size": 64, "samples": 80}', "--model.test_scales=[0.5,1.0]",
    ]  # fmt: skip
    environment = {**OFFLINE, "HOME": str(home)}
    assert kill_at(arguments, r"Epoch 1: +[3-6]0%", signal.SIGTERM, **environment)[0] == STOPPED
    run(*arguments, **environment)
    return RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(root))


@pytest.fixture(scope="module")
def folders(stopped_once) -> list[Path]:
    return sorted((stopped_once.directory / "wandb").glob("offline-run-*"))


def test_one_run_however_many_processes_and_starts(folders):
    started = [next(record["run"] for record in inspect(folder) if record["type"] == "run") for folder in folders]
    assert len(folders) == 2, "one for each start, none for the second process"
    assert len({record["run_id"] for record in started}) == 1, "sent to a server they are one"
    for record in started:
        assert record["run_group"] == "chained_pooling@scenes" and record["job_type"] == "train"
        assert record["display_name"] == "pool_conv_4-seed3"


def test_config_can_be_grouped_by_each_switch(folders):
    config = summary(folders[-1])["config"]
    assert {key: config[key] for key in ("table", "cell", "recipe", "seed")} == {
        "table": "chained_pooling", "cell": "pool_conv_4", "recipe": "scenes", "seed": 3,
    }  # fmt: skip
    assert config["network"]["pooling_blocks"] == 4 and config["network"]["pooling_relu"] is True
    assert config["model"]["learning_rate"] == 0.01 and config["data"]["global_batch"] == 8
    assert config["trainer"]["max_epochs"] == 2 and "optimizer" not in config, "nothing is there twice"
    tags = summary(folders[-1])["tags"]
    assert tags[:2] == ["scenes", "tu-tf_efficientnet_lite0"] and re.fullmatch("[0-9a-f]{10}", tags[2])


def test_nothing_is_logged_twice(folders):
    values = logged(folders)
    assert [entry for entry, times in Counter(values).items() if times > 1] == []
    steps = sorted(step for name, step in values if name == "train/loss")
    assert steps == list(range(20)), "each of two epochs of ten steps"
    names = {name for name, _ in values}
    assert {"lr-SGD/decoder", "train/pictures_per_second", "val/miou", "val-multi-scale/miou"} <= names
    assert not [name for name in names if "/iou/" in name], "classes are a table"
    assert len([step for name, step in values if name == "val/miou"]) == 2, "two epochs; the other scales have another name"


def test_summary_has_the_best_and_the_last(stopped_once, folders):
    found, record = summary(folders[-1])["summary"], results(stopped_once)
    assert found["val/miou"] == pytest.approx(record["curve"][-1]["miou"], rel=1e-6)
    assert found["val/miou_best"] == pytest.approx(max(point["miou"] for point in record["curve"]), rel=1e-6)
    assert record["best"]["miou"] == pytest.approx(found["val/miou_best"], rel=1e-6)
    assert [point["epoch"] for point in record["curve"]] == [1, 2], "also of what was scored before the interruption"


def test_finished_run_shows_classes_confusion_and_pictures(stopped_once, folders):
    found = summary(folders[-1])["summary"]
    files = folders[-1] / "files"
    table = json.loads((files / found["val/classes"]["path"]).read_text())
    iou = results(stopped_once)["evaluations"]["val"]["iou"]
    assert table["columns"] == ["class", "iou", "boundary_iou", "accuracy", "share_of_pixels"]
    assert {row[0]: row[1] for row in table["data"]} == iou
    assert (files / found["val/confusion"]["path"]).stat().st_size > 0
    chart = json.loads((files / found["val/confusion_chart_table"]["path"]).read_text())
    counts = results(stopped_once)["evaluations"]["val"]["confusion"]
    assert [row[2] for row in chart["data"]] == [count for row in counts for count in row]
    assert "val-multi-scale/classes" in found
    samples = found["samples"]
    assert samples["count"] == 4 and samples["captions"] == ["val_00016", "val_00032", "val_00047", "val_00063"]
    for masks in samples["all_masks"]:
        assert set(masks) == {"prediction", "ground truth"}
        assert all((files / mask["path"]).is_file() for mask in masks.values())
    labels = mask_labels(folders[-1])
    assert labels["255"] == "void" and [labels[str(index)] for index in range(11)] == list(Scenes.classes.names)


def mask_labels(folder: Path) -> dict[str, str]:
    """Names by class id of the predictions, which W&B keeps in the config."""
    updates = [record["config"].get("update", {}) for record in inspect(folder) if record["type"] == "config"]
    known = [update["_wandb"]["mask/class_labels"] for update in updates if "mask/class_labels" in update.get("_wandb", {})]
    return known[-1]["samples_wandb_delimeter_prediction"]["value"]


@pytest.fixture(scope="module")
def synced(stopped_once, folders):
    """A server to which the offline run was sent, as the README says."""
    with wandb_server.serving() as server:
        sync = [WANDB, "sync", "--yes", stopped_once.directory / "wandb"]
        sent = subprocess.run(sync, env={**os.environ, **server.environment}, capture_output=True, text=True)
        assert sent.returncode == 0, sent.stderr
        yield server


def test_offline_run_that_is_sent_later_is_one_run_in_its_group(synced, stopped_once, folders):
    (sent,) = synced.runs.values()
    assert sent["project"] == "refinenet_pl" and sent["groupName"] == "chained_pooling@scenes" and sent["jobType"] == "train"
    assert sent["displayName"] == "pool_conv_4-seed3" and "tu-tf_efficientnet_lite0" in sent["tags"]
    assert json.loads(sent["config"])["cell"]["value"] == "pool_conv_4"
    assert json.loads(sent["files"]["results.json"]) == results(stopped_once)
    steps = [row["trainer/global_step"] for row in sent["history"] if "train/loss" in row]
    assert sorted(steps) == list(range(20)), "of both starts"


def report(project: str, directory: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "experiments/report.py", directory, "--wandb", project, "-o", directory / "page.html"]
    return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True)


def test_test_is_a_run_of_its_own_in_the_same_group(stopped_once, tmp_path):
    copied = replace(stopped_once, root=str(tmp_path / "runs"))
    shutil.copytree(stopped_once.root, copied.root, ignore=shutil.ignore_patterns("wandb"))
    named = ["--seed_everything=3", "--run.table=chained_pooling", "--run.cell=pool_conv_4", f"--run.root={copied.root}"]
    run("test", *SMALL, *named, **OFFLINE)
    (folder,) = (copied.directory / "wandb").glob("offline-run-*")
    started = next(record["run"] for record in inspect(folder) if record["type"] == "run")
    assert started["run_group"] == "chained_pooling@scenes" and started["job_type"] == "test"
    found = summary(folder)["summary"]
    assert found["test/miou"] == pytest.approx(results(copied)["evaluations"]["test"]["miou"], rel=1e-6)
    assert {"test/classes", "test/confusion"} <= set(found)
    assert json.loads((folder / "files" / "results.json").read_text()) == results(copied), "with the test's scores"


def test_table_from_the_server_is_the_table_from_the_disk(synced, stopped_once, tmp_path):
    other = {"table": "chained_pooling", "cell": "no_unit", "recipe": "scenes", "seed": 3}
    failed = {"name": "failed", "displayName": "no_unit-seed3", "groupName": "chained_pooling@scenes", "jobType": "train"}
    config = json.dumps({key: {"value": value} for key, value in other.items()})
    synced.runs["failed"] = {**failed, "config": config, "files": {}, "history": [], "exitcode": 1}
    synced.runs["cut"] = {**failed, "name": "cut", "config": config, "files": {"results.json": b'{"form'}, "history": []}
    synced.runs["strange"] = {**failed, "name": "strange", "config": "{}", "files": {}, "history": []}
    made = report("team/refinenet_pl", tmp_path / "gathered", **synced.environment)
    assert made.returncode == 0, made.stderr
    table = [sys.executable, "experiments/ablate.py", "table", "chained_pooling", "--on=scenes", f"--root={stopped_once.root}"]
    here = subprocess.run(table, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    there, here = ([line.split() for line in text.splitlines() if "4 blocks, pooling" in line] for text in (made.stdout, here))
    assert there == here and len(here) > 0
    assert re.search(r"no chained pooling, no ReLU +\| +failed \| +0/1 \(1 failed\)", made.stdout)
    assert "no_unit-seed3: not a run of this repository, left out" in made.stderr and "1 runs, into" in made.stderr
    assert "val_00016: 4 blocks, pooling first" in (tmp_path / "gathered" / "page.html").read_text()
    assert "chained_pooling@scenes no_unit-seed3: its results.json cannot be read, left out" in made.stderr
    again = report("team/refinenet_pl", Path(stopped_once.root), **synced.environment)
    assert "was trained in" in again.stderr and "stays as it is" in again.stderr


def test_project_that_cannot_be_had_is_named_with_the_cure(tmp_path):
    environment = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": wandb_server.KEY, "WANDB_HTTP_TIMEOUT": "2"}
    made = report("team/refinenet_pl", tmp_path / "gathered", **environment)
    assert made.returncode == 2 and "Traceback" not in made.stderr
    assert "error: W&B's project team/refinenet_pl" in made.stderr and "wandb login" in made.stderr


def test_server_that_goes_away_stops_nothing(tmp_path):
    arguments = [*FIT, f"--run.root={tmp_path}"]
    with wandb_server.serving() as server:
        process = start(*arguments, **server.environment, WANDB_FINISH_TIMEOUT="3")
        while "Epoch 0" not in (line := process.stdout.readline()):
            assert line
        assert [sent["jobType"] for sent in server.runs.values()] == ["train"], "it was there"
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert RunId("scenes", "chained_pooling", "pool_conv_2", 3, str(tmp_path)).results_file.is_file()


def test_server_that_does_not_answer_is_recorded_offline(tmp_path):
    environment = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": wandb_server.KEY, "WANDB_INIT_TIMEOUT": "2"}
    output = run(*FIT, f"--run.root={tmp_path}", WANDB_MODE=None, **environment)
    assert "W&B does not answer, so it is recorded offline; send it later: wandb sync" in output
    folder = RunId("scenes", "chained_pooling", "pool_conv_2", 3, str(tmp_path)).directory / "wandb"
    (recorded,) = folder.glob("offline-run-*")
    assert "val/miou_best" in summary(recorded)["summary"]


def test_full_disk_under_wandb_stops_nothing(tmp_path):
    trained = RunId("scenes", "chained_pooling", "pool_conv_2", 3, str(tmp_path))
    folder = trained.directory / "wandb"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        run(*FIT, f"--run.root={tmp_path}", **OFFLINE)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    assert trained.results_file.is_file()


def test_wandb_that_dies_stops_nothing(tmp_path):
    process = start(*FIT, f"--run.root={tmp_path}", "--trainer.enable_progress_bar=false", **OFFLINE)
    printed = ""
    while "Loading `train_dataloader`" not in printed:
        line = process.stdout.readline()
        assert line, printed
        printed += line
    subprocess.run(["pkill", "-KILL", "-P", str(process.pid), "wandb-core"], check=True)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "W&B's record of pool_conv_2-seed3 ends here, the run goes on" in output
    assert RunId("scenes", "chained_pooling", "pool_conv_2", 3, str(tmp_path)).results_file.is_file()


@pytest.mark.parametrize("cell", ["a:b;c,d#e?f'g %h=1 (\N{CJK UNIFIED IDEOGRAPH-732B})", "half/quarter", "x" * 200])
def test_any_name_that_makes_a_directory_has_a_record(tmp_path, cell):
    named = ["--run.table=compared", f"--run.cell={cell}", f"--run.root={tmp_path}"]
    output = run(*FIT, "--trainer.max_epochs=1", *named, **OFFLINE)
    directory = RunId("scenes", "compared", cell, 3, str(tmp_path)).directory
    (folder,) = (directory / "wandb").glob("offline-run-*")
    assert "W&B's record" not in output and summary(folder)["config"]["cell"] == cell


@pytest.mark.parametrize(("track", "left"), [("csv", {"metrics"}), ("none", set())])
def test_track_says_where_values_go(tmp_path, track, left):
    run(*FIT, f"--run.root={tmp_path}", f"--track={track}", **OFFLINE)
    directory = RunId("scenes", "chained_pooling", "pool_conv_2", 3, str(tmp_path)).directory
    assert {path.name for path in directory.iterdir()} & {"metrics", "wandb", "wandb-id"} == left
    assert (directory / "results.json").is_file() and len(list((directory / "samples").iterdir())) == 12
