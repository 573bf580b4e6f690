"""MLflow's record of a run, read with MLflow's own client."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from helpers.recorded import mlflow_client, mlflow_curves, mlflow_files, mlflow_runs
from helpers.running import QUICK, command, refusal, results, run
from lightning.pytorch.loggers import MLFlowLogger

from refinenet_pl.cli.main import main
from refinenet_pl.tracking.configuration import flatten
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.recipe_loggers import adopt
from refinenet_pl.tracking.trackers import trackers

pytestmark = pytest.mark.integration

CLASS = "lightning.pytorch.loggers.MLFlowLogger"
LOGGER = [f"--trainer.logger={CLASS}", "--trainer.log_every_n_steps=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunId:
    """A run with two validations."""
    finished = RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(tmp_path_factory.mktemp("runs")))
    run(*command("fit", finished, "--track=csv", "--log.checkpoints=false", *LOGGER), MLFLOW_TRACKING_URI=None)
    return finished


@pytest.fixture(scope="module")
def client(trained):
    return mlflow_client(Path(trained.root))


@pytest.fixture(scope="module")
def recorded(client):
    return mlflow_runs(client)["chained_pooling@scenes", "pool_conv_4-seed3"]


def test_names_and_parameters(trained, recorded):
    assert recorded.info.status == "FINISHED"
    assert {name: str(value) for name, value in trained.names.items()}.items() <= recorded.data.tags.items()
    config = {key: str(value)[:250] for key, value in flatten(results(trained)["config"]).items()}
    assert config.items() <= recorded.data.params.items()


def test_scores(trained, client, recorded):
    curves, record = mlflow_curves(client, recorded), results(trained)
    points = {point["step"] - 1: point["miou"] for point in record["curve"]}
    assert len(points) == 2 and dict(curves["val/miou"]) == pytest.approx(points, rel=1e-6)
    assert curves["val/miou_best"][-1][1] == pytest.approx(max(points.values()), rel=1e-6)
    assert [step for step, _ in curves["train/loss"]] == list(range(record["training"]["steps"]))
    repeated = {name for name, values in curves.items() if len(dict(values)) < len(values)}
    assert repeated <= {"epoch"}


def test_images_at_each_validation(trained, client, recorded):
    files = [file for file in mlflow_files(client, recorded, "images") if file.endswith(".png")]
    for point in results(trained)["curve"]:
        assert (
            len([file for file in files if file.startswith("images/samples~") and f"+step+{point['step'] - 1}+" in file]) == 4
        )
    assert len([file for file in files if file.startswith("images/val~confusion+")]) == 1
    assert len([file for file in files if file.startswith("images/val_ranked~worst 1+")]) == 1


def test_tables_and_files(trained, client, recorded, tmp_path):
    files = set(mlflow_files(client, recorded))
    assert {"val/classes.csv", "val_ranked/scores.csv", "results.json", "dataset.yaml"} <= files
    assert not [file for file in files if file.endswith(".ckpt")]
    assert len([file for file in files if file.startswith("samples/")]) == 12
    table = Path(client.download_artifacts(recorded.info.run_id, "val/classes.csv", str(tmp_path))).read_text()
    iou = {row["class"]: float(row["iou"]) for row in csv.DictReader(io.StringIO(table)) if row["iou"]}
    assert iou == pytest.approx(
        {name: value for name, value in results(trained)["evaluations"]["val"]["iou"].items() if value is not None}
    )
    sent = Path(client.download_artifacts(recorded.info.run_id, "results.json", str(tmp_path))).read_text()
    assert json.loads(sent) == results(trained)


def test_own_records_stay(trained):
    assert trained.results_file.is_file() and list(trained.directory.glob("metrics/train/*/metrics.csv"))


def test_test_command_continues_the_run(trained, client):
    run(*command("test", trained, "--track=csv", *LOGGER), MLFLOW_TRACKING_URI=None)
    ((_, recorded),) = mlflow_runs(client).items()
    assert recorded.data.metrics["test/miou"] == pytest.approx(results(trained)["evaluations"]["test"]["miou"])
    assert "test/classes.csv" in set(mlflow_files(client, recorded))


def test_shared_training_is_logged(trained, client):
    shared = RunId("scenes", "rcu_removal", "paper", 3, trained.root)
    output = run(*command("fit", shared, "--track=csv", "--log.checkpoints=true", *LOGGER), MLFLOW_TRACKING_URI=None)
    assert "the same training as" in output
    recorded, record = mlflow_runs(client)["rcu_removal@scenes", "paper-seed3"], results(shared)
    points = {point["step"] - 1: point["miou"] for point in record["curve"]}
    assert dict(mlflow_curves(client, recorded)["val/miou"]) == pytest.approx(points, rel=1e-6)
    assert {"val/classes.csv", "results.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= set(
        mlflow_files(client, recorded)
    )
    assert recorded.info.status == "FINISHED" and recorded.data.params["run.cell"] == "paper"


def test_unusual_names_and_repeated_steps(tmp_path):
    run_ = RunId("scenes", root=str(tmp_path))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"

    def start() -> MLFlowLogger:
        (logger,) = adopt(MLFlowLogger("own", "name", uri, artifact_location=tmp_path.as_uri()), run_, {"a": "x" * 7000}, True)
        logger.log_hyperparams({})
        return logger

    (tracker,) = trackers([logger := start()])
    tracker.log_class_curves(
        "val", {"n/a (?)": 0.25, "\N{CJK UNIFIED IDEOGRAPH-732B}": 0.5, "\N{CJK UNIFIED IDEOGRAPH-72AC}": 0.75}, 5
    )
    resumed = start()
    assert resumed.run_id == logger.run_id
    for step in (3, 4, 5):
        resumed.log_metrics({"val_iou/-732b": 0.5, "new": 1.0}, step)
    client = mlflow_client(tmp_path)
    curves = mlflow_curves(client, client.get_run(logger.run_id))
    assert curves["val_iou/-732b"] == [(4, 0.5), (5, 0.5)] and curves["val_iou/-72ac"] == [(4, 0.75)]
    assert [step for step, _ in curves["new"]] == [3, 4, 5] and len(curves) == 4


def test_missing_package_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    message = refusal(capsys, "fit", f"--run.root={tmp_path}", *LOGGER)
    assert 'sqlalchemy is not installed; pip install "refinenet_pl[mlflow]"' in message


def test_training_survives_missing_server(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.warns(UserWarning, match="MLFlowLogger's record of default-seed0 ends here") as warned:
        main(["fit", *QUICK, f"--run.root={tmp_path}", *LOGGER, "--trainer.logger.tracking_uri=http://127.0.0.1:9"])
    assert len([warning for warning in warned if "ends here" in str(warning.message)]) == 1
    assert RunId("scenes", root=str(tmp_path)).results_file.is_file()
