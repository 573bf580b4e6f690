"""TensorBoard's record of a run, read with TensorBoard's own reader."""

import json
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest
import yaml
from helpers.recorded import tensorboard_curves, tensorboard_events
from helpers.running import command, refusal, results, run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from refinenet_pl.tracking.configuration import flatten
from refinenet_pl.tracking.identity import RunId

pytestmark = pytest.mark.integration

CLASS = "lightning.pytorch.loggers.TensorBoardLogger"


def logger(folder: Path) -> list[str]:
    return [f"--trainer.logger={CLASS}", f"--trainer.logger.save_dir={folder}", "--trainer.log_every_n_steps=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunId:
    """A run with two validations."""
    finished = RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(tmp_path_factory.mktemp("runs")))
    run(*command("fit", finished, "--track=csv", *logger(Path(finished.root) / "tb")))
    return finished


@pytest.fixture(scope="module")
def folder(trained) -> Path:
    return Path(trained.root) / "tb" / "chained_pooling@scenes" / "pool_conv_4" / "seed3"


@pytest.fixture(scope="module")
def events(folder) -> EventAccumulator:
    return tensorboard_events(folder)


def test_scores(trained, folder):
    curves, record = tensorboard_curves(folder), results(trained)
    points = {point["step"] - 1: point["miou"] for point in record["curve"]}
    assert len(points) == 2 and dict(curves["val/miou"]) == pytest.approx(points, rel=1e-6)
    best = list(accumulate(points.values(), max))
    assert [value for _, value in curves["val/miou_best"]] == pytest.approx(best, rel=1e-6)
    assert [step for step, _ in curves["train/loss"]] == list(range(record["training"]["steps"]))
    iou = record["evaluations"]["val"]["iou"]
    shown = {name.removeprefix("val_iou/"): values[-1][1] for name, values in curves.items() if name.startswith("val_iou/")}
    assert shown == pytest.approx({name: iou[name] for name in shown}, rel=1e-6) and len(shown) > 5
    assert not [name for name in curves if "/iou/" in name or name == "hp_metric"]


def test_values_are_logged_once(folder):
    steps = {name: [step for step, _ in values] for name, values in tensorboard_curves(folder).items() if name != "epoch"}
    assert {name for name, values in steps.items() if len(set(values)) < len(values)} == set()


def test_images_at_each_validation(trained, events):
    steps = [point["step"] - 1 for point in results(trained)["curve"]]
    samples = {tag: [image.step for image in events.Images(tag)] for tag in events.Tags()["images"] if "samples/" in tag}
    assert list(samples.values()) == [steps] * 4
    (image, *_) = events.Images(next(iter(samples)))
    assert (image.height, image.width) == (64, 4 * 64 + 3 * 4), "image, ground truth, prediction and error"
    assert {"val/confusion", "val_ranked/worst 1", "val_ranked/best 1"} <= set(events.Tags()["images"])


def text(events: EventAccumulator, name: str) -> str:
    return events.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode()


def test_tables_and_configuration_are_texts(trained, events):
    record = results(trained)
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text(events, "val/classes").splitlines()
    ]
    assert header == ["class", "iou", "boundary_iou", "accuracy", "share_of_pixels"]
    assert {row[0]: float(row[1] or 0) for row in rows} == pytest.approx(record["evaluations"]["val"]["iou"], abs=1e-4)
    shown = text(events, "configuration").removeprefix("```yaml\n").removesuffix("```")
    assert json.loads(json.dumps(yaml.safe_load(shown))) == record["config"]
    assert text(events, "dataset").startswith("```yaml\nname: scenes\n")


def test_hyperparameters_of_the_comparison(trained, events):
    content = events.summary_metadata
    stored = {
        tag: plugin_data_pb2.HParamsPluginData.FromString(content[tag].plugin_data.content)
        for tag in content
        if "hparams" in tag
    }
    (experiment,) = [data.experiment for data in stored.values() if data.HasField("experiment")]
    assert {metric.name.tag for metric in experiment.metric_infos} == {"val/miou", "val/miou_best"}
    (start,) = [data.session_start_info for data in stored.values() if data.HasField("session_start_info")]
    assert trained.names.keys() < set(start.hparams) < trained.names.keys() | flatten(results(trained)["config"]).keys()
    assert start.hparams["model.network.init_args.pooling_blocks"].number_value == 4


def test_own_records_stay(trained):
    assert trained.results_file.is_file() and list(trained.directory.glob("metrics/train/*/metrics.csv"))


def test_test_command_adds_to_the_record(trained, folder):
    run(*command("test", trained, "--track=csv", *logger(Path(trained.root) / "tb")))
    assert tensorboard_curves(folder)["test/miou"][0][1] == pytest.approx(results(trained)["evaluations"]["test"]["miou"])
    assert "test/confusion" in tensorboard_events(folder).Tags()["images"]


def test_names_of_the_recipe_stay(tmp_path):
    named = RunId("scenes", root=str(tmp_path))
    run(
        *command("fit", named, "--track=none", "--trainer.max_epochs=1", *logger(tmp_path / "tb"), "--trainer.logger.name=mine")
    )
    assert "val/miou" in tensorboard_curves(tmp_path / "tb" / "mine" / "version_0")
    assert not (named.directory / "metrics").exists()


def test_missing_package_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    message = refusal(capsys, "fit", f"--run.root={tmp_path}", *logger(tmp_path))
    assert 'tensorboard is not installed; pip install "refinenet_pl[tensorboard]"' in message


@pytest.fixture
def small_disk(tmp_path, mount_disk) -> Iterator[Path]:
    (tmp_path / "tb").mkdir()
    mount_disk(tmp_path / "tb", "64k")
    return tmp_path / "tb"


@pytest.mark.slow
def test_training_survives_full_disk(tmp_path, small_disk):
    finished = RunId("scenes", root=str(tmp_path / "runs"))
    output = run(*command("fit", finished, "--track=csv", *logger(small_disk)))
    assert "TensorBoardLogger's record of default-seed0 ends here" in output and finished.results_file.is_file()
