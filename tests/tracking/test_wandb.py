"""W&B records of runs, read from W&B's own files and from a server for the real client."""

import hashlib
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
import wandb
from helpers import wandb_server
from helpers.repository import REPOSITORY
from helpers.running import SMALL, kill_at, results, run, start, wait_for

from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.exit_codes import STOPPED
from refinenet_pl.tracking.identity import RunId

pytestmark = pytest.mark.integration

WANDB = Path(sys.executable).parent / "wandb"
NAMES = ["--seed_everything=3", "--run.table=chained_pooling", "--run.cell=pool_conv_4"]
FIT = ["fit", *SMALL, *NAMES, "--trainer.log_every_n_steps=1"]
MANY = [*FIT, '--data.dataset_options={"size": 64, "samples": 80}', "--model.test_scales=[0.5,1.0]"]
OFFLINE = {"WANDB_MODE": None, "WANDB_API_KEY": None}
UNREACHABLE = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": wandb_server.KEY}


def run_in(root: Path) -> RunId:
    return RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(root))


def inspect(folder: Path, kind: str) -> list[dict]:
    """Records of one kind in an offline run, in order."""
    read = subprocess.run(
        [WANDB, "leet", "inspect", "--json", folder],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [record[kind] for record in map(json.loads, read.stdout.splitlines()) if record["type"] == kind]


def summary(folder: Path) -> dict:
    read = subprocess.run(
        [WANDB, "leet", "inspect", "--summary", "--json", folder],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(read.stdout)


def offline_folders(run_: RunId) -> list[Path]:
    return sorted((run_.directory / "wandb").glob("offline-run-*"))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> RunId:
    """A run of two processes without a key, stopped in the second epoch and resumed, with a test at two scales."""
    root, home = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("home")
    arguments = [*MANY, f"--run.root={root}", "--trainer.devices=2", "--trainer.accelerator=cpu"]
    environment = {**OFFLINE, "HOME": str(home)}
    assert kill_at(arguments, r"Epoch 1: +[3-6]0%", signal.SIGTERM, **environment)[0] == STOPPED
    run(*arguments, **environment)
    return run_in(root)


@pytest.fixture(scope="module")
def folders(resumed) -> list[Path]:
    return offline_folders(resumed)


def test_parts_are_one_run(folders):
    runs = [inspect(folder, "run")[0] for folder in folders]
    assert len(folders) == 2, "one per start, none for the second process"
    assert len({record["run_id"] for record in runs}) == 1, "a server merges both parts"
    names = {(record["run_group"], record["job_type"], record["display_name"]) for record in runs}
    assert names == {("chained_pooling@scenes", "train", "pool_conv_4-seed3")}


def test_config_tags_and_summary(resumed, folders):
    found, record = summary(folders[-1]), results(resumed)
    assert resumed.names.items() <= found["config"].items()
    assert found["config"]["network"]["pooling_blocks"] == 4 and found["config"]["data"]["global_batch"] == 8
    assert found["tags"][:2] == ["scenes", "tu-tf_efficientnet_lite0"]
    scores = {point["epoch"]: point["miou"] for point in record["curve"]}
    assert scores.keys() == {1, 2}, "including the epoch before the interruption"
    # The highest since the interruption, because an offline run cannot resume its summary.
    assert found["summary"]["val/miou"] == pytest.approx({"last": scores[2], "max": scores[2]}, rel=1e-6)
    assert found["summary"]["val/miou_best"] == pytest.approx(max(scores.values()), rel=1e-6)


def test_values_are_logged_once(folders):
    rows = [record["item"] for folder in folders for record in inspect(folder, "history")]
    counters = ("epoch", "trainer/global_step")  # part of each row
    values = [(name, row["trainer/global_step"]) for row in rows for name in row if name[0] != "_" and name not in counters]
    assert set(Counter(values).values()) == {1}
    names = {name for name, _ in values}
    assert {"learning_rate/decoder", "speed/images_per_second", "gradients/norm", "val/miou", "val-multi-scale/miou"} <= names
    assert {"memory/cpu_gib", "dead_relu/block_1", "active_relu/block_4"} <= names
    assert not [name for name in names if "/iou/" in name], "curves of classes are in a section of their own"
    curves = {name for name in names if name.startswith("val_iou/")}
    assert curves and curves <= {f"val_iou/{name}" for name in Scenes.classes.names}
    assert len([step for name, step in values if name == "samples._type"]) == 2, (
        "at each validation, the last of which is the final one"
    )
    assert sorted(step for name, step in values if name == "train/loss") == list(range(20))
    assert len([step for name, step in values if name == "val/miou"]) == 2, "one per epoch"


def test_finished_run_has_class_table_confusion_and_samples(resumed, folders):
    found, files = summary(folders[-1])["summary"], folders[-1] / "files"
    validation = results(resumed)["evaluations"]["val"]
    table = json.loads((files / found["val/classes"]["path"]).read_text())
    assert table["columns"] == ["class", "iou", "boundary_iou", "accuracy", "share_of_pixels"]
    assert {row[0]: row[1] for row in table["data"]} == validation["iou"]
    assert (files / found["val/confusion"]["path"]).stat().st_size > 0
    chart = json.loads((files / found["val/confusion_chart_table"]["path"]).read_text())
    assert [row[2] for row in chart["data"]] == [count for row in validation["confusion"] for count in row]
    assert "val-multi-scale/classes" in found
    assert found["samples"]["captions"] == ["val_00016", "val_00032", "val_00047", "val_00063"]
    ranked = json.loads((files / found["val/predictions"]["path"]).read_text())
    assert ranked["columns"] == ["rank", "name", "mIoU %", "image", "ground truth", "prediction", "error"]
    ranks, scores = [row[0] for row in ranked["data"]], [row[2] for row in ranked["data"]]
    assert ranks[:8] == [f"{end} {place}" for end in ("worst", "best") for place in range(1, 5)]
    assert scores[:4] == sorted(scores[:4]) and scores[4:8] == sorted(scores[4:8], reverse=True) and scores[0] < scores[4]
    listed = [line.split(",") for line in (resumed.directory / "val-images.csv").read_text().splitlines()]
    assert listed[0] == ["image", "miou"] and len(listed) == 1 + 80 and listed[1][0] == ranked["data"][0][1]
    for masks in found["samples"]["all_masks"]:
        assert masks.keys() == {"prediction", "ground truth"}
        assert all((files / mask["path"]).is_file() for mask in masks.values())
    updates = [record.get("update", {}).get("_wandb", {}) for record in inspect(folders[-1], "config")]
    labels = [update["mask/class_labels"] for update in updates if "mask/class_labels" in update][-1]
    labels = labels["samples_wandb_delimeter_prediction"]["value"]
    assert labels["255"] == "void" and [labels[str(index)] for index in range(11)] == list(Scenes.classes.names)


@pytest.fixture(scope="module")
def synced(resumed):
    """A server to which the offline run was sent."""
    with wandb_server.serving() as server:
        sync = [WANDB, "sync", "--yes", resumed.directory / "wandb"]
        sent = subprocess.run(sync, env={**os.environ, **server.environment}, capture_output=True, text=True)
        assert sent.returncode == 0, sent.stderr
        yield server


@pytest.mark.slow
def test_synced_run(synced, resumed):
    (sent,) = synced.runs.values()
    assert sent["project"] == "refinenet_pl" and sent["groupName"] == "chained_pooling@scenes"
    assert json.loads(sent["files"]["results.json"]) == results(resumed)
    steps = [row["trainer/global_step"] for row in sent["history"] if "train/loss" in row]
    assert sorted(steps) == list(range(20)), "of both starts"


@pytest.mark.slow
def test_checkpoints_and_tables_of_an_offline_run_are_sent(synced, resumed):
    best, last = synced.artifacts.of_type("model")
    for artifact, name in (best, "best"), (last, "last"):
        content = (resumed.directory / f"{name}.ckpt").read_bytes()
        assert name in artifact["aliases"] and artifact["files"]["checkpoint.ckpt"] == content
        assert artifact["metadata"]["sha256"] == hashlib.sha256(content).hexdigest()
        assert artifact["metadata"]["val"]["miou"] > 0 and resumed.names.items() <= artifact["metadata"].items()
    tables = {name for artifact in synced.artifacts.of_type("run_table") for name in artifact["files"]}
    assert {"val/classes.table.json", "val/predictions.table.json"} <= tables


@pytest.mark.slow
def test_lineage_of_an_online_run(tmp_path):
    with wandb_server.serving() as server:
        run(*FIT, f"--run.root={tmp_path}", **server.environment)
        run("test", *SMALL, *NAMES, f"--run.root={tmp_path}", **server.environment)
        training, test = server.runs
        stored = server.artifacts.stored
        used = {name: [stored[artifact] for user, artifact in server.artifacts.used if user == name] for name in server.runs}
    assert [artifact["type"] for artifact in used[training]] == ["dataset"]
    assert [artifact["type"] for artifact in used[test]] == ["dataset", "model"] and "best" in used[test][1]["aliases"]
    assert used[test][1]["run"] == training
    facts = [artifact["metadata"] for found in (training, test) for artifact in used[found][:1]]
    assert facts[0]["samples"] == {"train": 24, "val": 24} and facts[1]["samples"] == {"test": 24}
    assert facts[0]["fingerprint"] == facts[1]["fingerprint"]


@pytest.fixture
def copied(resumed, tmp_path) -> RunId:
    """A copy of the finished run without its W&B record."""
    shutil.copytree(resumed.root, tmp_path / "runs", ignore=shutil.ignore_patterns("wandb"))
    return replace(resumed, root=str(tmp_path / "runs"))


def test_shared_training_is_logged_for_each_run(copied):
    shared = replace(copied, table="rcu_removal", cell="paper")
    run(*MANY, "--run.table=rcu_removal", "--run.cell=paper", f"--run.root={copied.root}", **OFFLINE)
    (folder,), record = offline_folders(shared), results(shared)
    assert record["trained_as"] == {"table": "chained_pooling", "cell": "pool_conv_4"}
    (names,), found = inspect(folder, "run"), summary(folder)["summary"]
    assert names["run_group"] == "rcu_removal@scenes" and found["samples"]["count"] == 4
    curve = [row["item"]["val/miou"] for row in inspect(folder, "history") if "val/miou" in row["item"]]
    assert curve[:2] == pytest.approx([point["miou"] for point in record["curve"]], rel=1e-6)
    assert {"val/classes", "val/confusion", "val-multi-scale/miou"} <= set(found)
    assert json.loads((folder / "files" / "results.json").read_text()) == record


def test_test_command_is_another_run_of_the_group(copied):
    run("test", *SMALL, *NAMES, f"--run.root={copied.root}", **OFFLINE)
    (folder,) = offline_folders(copied)
    (record,) = inspect(folder, "run")
    assert record["run_group"] == "chained_pooling@scenes" and record["job_type"] == "test"
    assert {"test/miou", "test/classes", "test/confusion", "test/predictions"} <= summary(folder)["summary"].keys()
    assert json.loads((folder / "files" / "results.json").read_text()) == results(copied)


def report(directory: Path, **environment: str) -> subprocess.CompletedProcess:
    """Download the project `team/refinenet_pl` and write its report page."""
    command = [sys.executable, "experiments/report.py", directory, "--wandb=team/refinenet_pl", "-o", directory / "page.html"]
    return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.slow
def test_table_from_server_equals_table_from_disk(synced, resumed, tmp_path):
    names = {"table": "chained_pooling", "cell": "no_unit", "recipe": "scenes", "seed": 3}
    config = json.dumps({key: {"value": value} for key, value in names.items()})
    failed = {"name": "failed", "displayName": "no_unit-seed3", "groupName": "chained_pooling@scenes", "jobType": "train"}
    failed |= {"config": config, "files": {}, "history": []}
    synced.runs["failed"] = {**failed, "exitcode": 1}
    synced.runs["cut"] = {**failed, "name": "cut", "files": {"results.json": b'{"form'}}
    synced.runs["strange"] = {**failed, "name": "strange", "config": "{}"}
    page = report(tmp_path / "gathered", **synced.environment)
    assert page.returncode == 0, page.stderr
    table = [sys.executable, "experiments/ablate.py", "table", "chained_pooling", "--on=scenes", f"--root={resumed.root}"]
    here = subprocess.run(
        table, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    there, here = ([line.split() for line in text.splitlines() if "4 blocks, pooling" in line] for text in (page.stdout, here))
    assert there == here and len(here) > 0
    assert re.search(r"no chained pooling, no ReLU +\| +failed \| +0/1 \(1 failed\)", page.stdout)
    assert "no_unit-seed3: not a run of refinenet_pl, skipped" in page.stderr and "downloaded 1 run from" in page.stderr
    assert "chained_pooling@scenes no_unit-seed3: results.json cannot be read, skipped" in page.stderr
    assert "val_00016: 4 blocks, pooling first" in (tmp_path / "gathered" / "page.html").read_text()
    again = report(Path(resumed.root), **synced.environment)
    assert "was trained in" in again.stderr and "not changed" in again.stderr


def test_unreachable_project(tmp_path):
    page = report(tmp_path / "gathered", **UNREACHABLE, WANDB_HTTP_TIMEOUT="2")
    assert page.returncode == 2 and "Traceback" not in page.stderr
    assert "error: W&B project team/refinenet_pl" in page.stderr and "wandb login" in page.stderr


@pytest.mark.slow
def test_training_survives_loss_of_server(tmp_path):
    with wandb_server.serving() as server:
        process = start(*FIT, f"--run.root={tmp_path}", **server.environment, WANDB_FINISH_TIMEOUT="3")
        wait_for(process, "Epoch 0")
        assert [sent["jobType"] for sent in server.runs.values()] == ["train"]
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert run_in(tmp_path).results_file.is_file()


@pytest.mark.slow
def test_unresponsive_server_is_replaced_by_offline_record(tmp_path):
    output = run(*FIT, f"--run.root={tmp_path}", WANDB_MODE=None, **UNREACHABLE, WANDB_INIT_TIMEOUT="2")
    assert "W&B does not respond" in output and "wandb sync" in output
    (folder,) = offline_folders(run_in(tmp_path))
    assert "val/miou_best" in summary(folder)["summary"]


@pytest.mark.slow
def test_training_survives_full_disk_of_wandb(tmp_path, mount_disk):
    folder = run_in(tmp_path).directory / "wandb"
    folder.mkdir(parents=True)
    mount_disk(folder, "64k")
    run(*FIT, f"--run.root={tmp_path}", **OFFLINE)
    assert run_in(tmp_path).results_file.is_file()


@pytest.mark.slow
def test_training_survives_kill_of_wandb(tmp_path):
    process = start(*FIT, f"--run.root={tmp_path}", "--trainer.enable_progress_bar=false", **OFFLINE)
    wait_for(process, "Loading `train_dataloader`")
    subprocess.run(["pkill", "-KILL", "-P", str(process.pid), "wandb-core"], check=True)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "W&B's record of pool_conv_4-seed3 ends here" in output
    assert run_in(tmp_path).results_file.is_file()


@pytest.mark.parametrize("cell", ["a:b;c,d#e?f'g %h=1 (\N{CJK UNIFIED IDEOGRAPH-732B})", "half/quarter", "x" * 200])
def test_unusual_names(tmp_path, cell):
    names = ["--run.table=compared", f"--run.cell={cell}", f"--run.root={tmp_path}"]
    output = run(*FIT, "--trainer.max_epochs=1", *names, **OFFLINE)
    (folder,) = offline_folders(RunId("scenes", "compared", cell, 3, str(tmp_path)))
    assert "W&B's record" not in output and summary(folder)["config"]["cell"] == cell


def test_record_is_complete_if_the_parent_process_uses_wandb(tmp_path, monkeypatch):
    for name in OFFLINE:
        monkeypatch.delenv(name, raising=False)
    wandb.init(mode="offline", dir=tmp_path)
    assert "WANDB_SERVICE" in os.environ
    try:
        run(*FIT, "--trainer.max_epochs=1", f"--run.root={tmp_path}", **OFFLINE)
        (folder,) = offline_folders(run_in(tmp_path))
        assert {"val/miou_best", "val/classes", "val/predictions"} <= summary(folder)["summary"].keys()
    finally:
        wandb.teardown()


def test_content_can_be_switched_off(tmp_path):
    off = ["--log.samples=0", "--log.class_curves=0", "--log.ranked=0", "--log.checkpoints=false", "--log.dataset=false"]
    run(*FIT, "--trainer.max_epochs=1", *off, f"--run.root={tmp_path}", **OFFLINE)
    (folder,) = offline_folders(run_in(tmp_path))
    found = summary(folder)
    assert not [name for name in found["summary"] if name.startswith(("samples", "val_iou", "val/predictions"))]
    assert "dataset" not in found["config"]
    assert {record["type"] for record in inspect(folder, "artifact")} == {"run_table"}
    assert not (run_in(tmp_path).directory / "samples").exists() and (run_in(tmp_path).directory / "val-images.csv").is_file()
    assert "log.samples is -1; it must be 0 or more" in run(*FIT, "--log.samples=-1", f"--run.root={tmp_path}/no", code=1)


@pytest.mark.parametrize(("track", "written"), [("csv", {"metrics"}), ("none", set())])
def test_track_option(tmp_path, track, written):
    run(*FIT, f"--run.root={tmp_path}", f"--track={track}", **OFFLINE)
    directory = run_in(tmp_path).directory
    assert {path.name for path in directory.iterdir()} & {"metrics", "wandb", "wandb-id"} == written
    assert (directory / "results.json").is_file() and len(list((directory / "samples").iterdir())) == 12
