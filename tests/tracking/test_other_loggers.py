"""Several loggers in a recipe, loggers without a tracker of their own, and a kill."""

import csv
import signal
import sys
from pathlib import Path

import pytest
import wandb
from helpers.recorded import mlflow_client, mlflow_curves, mlflow_files, mlflow_runs, tensorboard_curves, tensorboard_events
from helpers.running import QUICK, SMALL, fit, kill_at, refusal, results, run, same, weights
from lightning.pytorch.loggers import Logger

from refinenet_pl.cli.main import main
from refinenet_pl.tracking.configuration import differences
from refinenet_pl.tracking.identity import RunId

pytestmark = pytest.mark.integration


class Plain(Logger):
    """A logger of values only."""

    name, version = "plain", 0
    calls: list[tuple] = []

    def log_metrics(self, metrics, step=None):
        self.calls.append(("values", set(metrics), step))

    def log_hyperparams(self, params):
        self.calls.append(("parameters", params))


class Showing(Plain):
    """A logger with Lightning's methods for images and tables."""

    def log_image(self, key, images, step=None, caption=None):
        self.calls.append(("images", key, len(images), step, caption))

    def log_table(self, key, columns, data, step=None):
        self.calls.append(("table", key, columns, len(data)))


class Failing(Plain):
    """A logger that fails."""

    def log_metrics(self, metrics, step=None):
        self.calls.append(("tried",))
        raise ConnectionError("server away")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Make this file's classes available by name."""
    module = type("module", (), {"Plain": Plain, "Showing": Showing, "Failing": Failing})
    monkeypatch.setitem(sys.modules, "own_loggers", module)
    monkeypatch.setattr(Plain, "calls", [])


def test_loggers_with_and_without_images(tmp_path):
    loggers = "[{class_path: own_loggers.Plain}, {class_path: own_loggers.Showing}]"
    record = fit(tmp_path, "--track=csv", f"--trainer.logger={loggers}")
    kinds = [call[0] for call in Plain.calls]
    assert kinds.count("parameters") == 2 and kinds.count("values") % 2 == 0
    assert all(
        call[1]["model.learning_rate"] == record["config"]["model"]["learning_rate"]
        for call in Plain.calls
        if call[0] == "parameters"
    )
    assert [call[1:] for call in Plain.calls if call[:2] == ("images", "samples")] == [
        ("samples", 4, 2, [f"val_{n:05}" for n in (1, 2, 3, 4)])
    ]
    assert ("images", "val", 1, 2, ["confusion"]) in Plain.calls
    assert ("table", "val/classes", ["class", "iou", "boundary_iou", "accuracy", "share_of_pixels"], 11) in Plain.calls
    assert sum("val/miou_best" in call[1] for call in Plain.calls if call[0] == "values") == 2
    (file,) = tmp_path.rglob("metrics.csv")
    assert any(row["val/miou"] for row in csv.DictReader(file.open()))


def test_values_have_no_class_table(tmp_path):
    fit(tmp_path, "-c=scenes_depth", "--data.dataset_options={}", '--data.dataset_options={"size": 64, "samples": 6}',
        "--trainer.logger=own_loggers.Showing")  # fmt: skip
    assert [call[2] for call in Plain.calls if call[:2] == ("table", "val/scores")] == [["score", "channel", "value"]]
    assert sum("val/abs_rel_best" in call[1] for call in Plain.calls if call[0] == "values") == 1


def test_failing_logger_ends_with_one_warning(tmp_path):
    with pytest.warns(
        UserWarning, match="Failing's record of default-seed0 ends here, the run continues: ConnectionError: server away"
    ):
        fit(tmp_path, "--trainer.logger=own_loggers.Failing")
    assert [call[0] for call in Plain.calls] == ["parameters", "tried"]


@pytest.mark.parametrize(("option", "written"), [("true", True), ("false", False)])
def test_true_and_false(tmp_path, option, written):
    fit(tmp_path, "--track=none", f"--trainer.logger={option}")
    assert bool(list(tmp_path.rglob("metrics.csv"))) == written and not list(tmp_path.rglob("lightning_logs"))


def test_debugging_logs_nothing(tmp_path):
    main(["fit", *QUICK, f"--run.root={tmp_path}", "--trainer.fast_dev_run=1", "--trainer.logger=own_loggers.Showing"])
    assert Plain.calls == []


def test_second_wandb_logger_is_refused(tmp_path, capsys):
    option = "--trainer.logger=lightning.pytorch.loggers.WandbLogger"
    assert "set --track csv" in refusal(capsys, "fit", f"--run.root={tmp_path}", "--track=wandb", option)


def test_plain_wandb_logger(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # a session that another test of this process has started ignores the environment
    options = ["--trainer.logger=lightning.pytorch.loggers.WandbLogger", f"--trainer.logger.save_dir={tmp_path}"]
    fit(tmp_path / "runs", "--track=csv", *options)
    wandb.teardown()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    media = {file.relative_to(folder / "files" / "media").parts[0] for file in folder.rglob("media/**/*") if file.is_file()}
    assert media == {"images", "table"}


def test_loggers_have_no_effect_on_the_training():
    given = {"logger": [{"class_path": "Plain", "init_args": {"name": "x"}}]}
    assert differences({"trainer": {"logger": None}}, {"trainer": given}) == {}
    assert differences({"trainer": {"logger": None, "precision": 16}}, {"trainer": given}) == {"trainer.precision": (16, None)}


@pytest.mark.slow
def test_killed_run_of_two_processes_has_one_record(tmp_path):
    """SIGKILL in the second epoch, so that steps after the last checkpoint are logged twice."""

    def arguments(root: Path) -> list[str]:
        loggers = f"[{{class_path: TensorBoardLogger, init_args: {{save_dir: {root / 'tb'}}}}}, {{class_path: MLFlowLogger}}]"
        data = '--data.dataset_options={"size": 64, "samples": 80}'
        devices = ["--trainer.devices=2", "--trainer.accelerator=cpu"]
        return [
            "fit",
            *SMALL,
            data,
            *devices,
            f"--run.root={root}",
            "--track=csv",
            f"--trainer.logger={loggers}",
            "--trainer.log_every_n_steps=1",
        ]

    killed, other = (RunId("scenes", root=str(tmp_path / name)) for name in ("killed", "other"))
    kill_at(arguments(Path(killed.root)), r"Epoch 1: +[3-6]0%", signal.SIGKILL, MLFLOW_TRACKING_URI=None)
    before = tensorboard_curves(Path(killed.root, "tb", "single@scenes", "default", "seed0"))["train/loss"]
    assert before[-1][0] >= 10, "steps after the last checkpoint"
    run(*arguments(Path(killed.root)), MLFLOW_TRACKING_URI=None)
    run(*arguments(Path(other.root)), MLFLOW_TRACKING_URI=None)
    assert same(weights(killed), weights(other)) and len(results(killed)["curve"]) == 2
    folders = [Path(run_.root, "tb", "single@scenes", "default", "seed0") for run_ in (killed, other)]
    clients = [mlflow_client(Path(run_.root)) for run_ in (killed, other)]
    recorded = [mlflow_runs(client)["single@scenes", "default-seed0"] for client in clients]
    assert recorded[0].info.status == "FINISHED"
    differing = {"epoch", "speed/images_per_second", "memory/cpu_gib"}
    for one, two in [
        [tensorboard_curves(folder) for folder in folders],
        [mlflow_curves(client, found) for client, found in zip(clients, recorded, strict=True)],
    ]:
        assert one.keys() == two.keys()
        assert {name for name in one.keys() - differing if one[name] != two[name]} == set()
        assert [step for step, _ in one["train/loss"]] == list(range(20)) and [step for step, _ in one["val/miou"]] == [9, 19]
    for tag in ("samples/val_00016", "val/confusion"):
        one, two = ([image.step for image in tensorboard_events(folder).Images(tag)] for folder in folders)
        assert one == two
    one, two = (
        sorted(file.partition("+timestamp")[0] for file in mlflow_files(*pair)) for pair in zip(clients, recorded, strict=True)
    )
    assert one == two
