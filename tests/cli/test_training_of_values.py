"""Commands fit, validate, test and ablate on continuous values: exact on any number of processes, and resumable."""

import csv
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.running import SMALL, kill_at, refusal, results, run, same, weights
from PIL import Image

from refinenet_pl.cli.main import main
from refinenet_pl.datasets.scenes_values import ScenesDepth
from refinenet_pl.exit_codes import STOPPED
from refinenet_pl.tracking.identity import RunId

DEPTH = [*SMALL, "-c=scenes_depth", "--trainer.accelerator=cpu"]
DEPTH.remove("-c=scenes")
# Unknown depths, flips, 37 images in batches of 2; 12 is divisible by 2 and 4.
EXACT = [
    *DEPTH, '--data.dataset_options={"size": 64, "samples": 37}', "--data.evaluation_batch=2", "--data.global_batch=12",
    "--model.network.init_args.dropout=0.5", "--model.encoder_learning_rate_factor=0.1", "--trainer.precision=64-true",
    "--data.scales=[0.8,1.0,1.2]", '--model.loss={"silog": 1.0, "l1": 0.1, "gradient": 0.1}',
]  # fmt: skip
RESUMED = [*DEPTH, '--data.dataset_options={"size": 64, "samples": 80}', "--model.network.init_args.dropout=0.5"]


def fit(root: Path, arguments: list[str], *more: str, **options) -> RunId:
    run("fit", *arguments, *more, f"--run.root={root}", **options)
    return RunId("scenes_depth", root=str(root))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunId:
    """A finished run with an offline W&B record."""
    root, home = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("home")
    return fit(root, DEPTH, "--model.test_flip=true", WANDB_MODE=None, WANDB_API_KEY=None, HOME=str(home))


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> RunId:
    """A run of one process."""
    return fit(tmp_path_factory.mktemp("single"), EXACT)


@pytest.mark.integration
def test_record_and_files(trained):
    record = results(trained)
    assert record["config"]["task"] == "refinenet_pl.RegressionTask"
    assert record["config"]["model"]["values"]["names"] == ["depth"]
    assert record["config"]["model"]["network"]["init_args"]["classes"] == 1
    assert list(record["evaluations"]) == ["val", "val, flip"] and len(record["curve"]) == 2
    assert record["curve"][-1]["abs_rel"] == record["evaluations"]["val"]["abs_rel"] > 0
    assert record["best"]["abs_rel"] == pytest.approx(min(point["abs_rel"] for point in record["curve"]))
    assert record["evaluations"]["val"]["abs_rel"] != record["evaluations"]["val, flip"]["abs_rel"]
    assert len(record["pooling_activity"]) == 4
    names = sorted(path.name for path in (trained.directory / "samples").iterdir())
    assert len(names) == 16 and names[:4] == [
        f"val_00005-{kind}" for kind in ("error.png", "image.jpg", "label.png", "prediction.png")
    ]
    assert Image.open(trained.directory / "samples" / names[0]).size[0] == 64
    (folder,) = (trained.directory / "wandb").glob("offline-run-*")
    media = [path.name for path in (folder / "files" / "media").rglob("*.*")]
    samples = [name for name in media if name.startswith("samples_")]
    assert len(samples) == 2 * 4, "at each validation"
    assert any("scores" in name for name in media) and any("predictions" in name for name in media)


@pytest.mark.integration
def test_test_prints_and_writes_scores(trained):
    output = run("test", *DEPTH, "--model.test_flip=true", f"--run.root={trained.root}")
    tested = results(trained)["evaluations"]["test, flip"]
    assert f"{tested['abs_rel']:.3f}" in output and f"{100 * tested['delta1']:.1f}" in output
    with (trained.directory / "test-flip.csv").open() as stream:
        rows = {row["score"]: row["value"] for row in csv.DictReader(stream)}
    assert float(rows["rmse"]) == tested["rmse"] and len(rows) == 9
    sheet = np.asarray(Image.open(trained.directory / "test-flip-errors.png"))
    assert sheet.shape[1] == 4 * 64 + 3 * 4 and sheet.shape[0] > 4 * 64
    assert f"already finished: {trained.results_file}" in run(
        "fit", *DEPTH, "--model.test_flip=true", f"--run.root={trained.root}"
    )


@pytest.mark.integration
def test_predicts_and_refuses_other_data(trained, tmp_path):
    checkpoint = trained.directory / "best.ckpt"
    image, target = ScenesDepth(split="val", size=64).read(0)
    Image.fromarray(image).save(tmp_path / "a.png")
    main(["predict", str(tmp_path / "a.png"), f"--ckpt_path={checkpoint}", f"--output={tmp_path / 'out'}"])
    stored = Image.open(tmp_path / "out" / "a.png")
    depth = np.asarray(stored) / float(stored.text["divisor"])
    assert depth.shape == target.shape[:2] and 0 < depth.mean() < 100
    keypoints = [word.replace("scenes_depth", "scenes_keypoints") for word in DEPTH]
    output = run("test", *keypoints, f"--ckpt_path={checkpoint}", f"--run.root={tmp_path}", code=1)
    assert f"error: {checkpoint}: its values have the kind 'depth', but those of the dataset 'heatmap'" in output


def test_invalid_combinations(tmp_path, capsys):
    root = f"--run.root={tmp_path}"
    assert "'scenes' is a dataset of classes" in refusal(capsys, "fit", "-c=scenes_depth", "--data.dataset=scenes", root)
    assert "'scenes_depth' is a dataset of values" in refusal(capsys, "fit", "--data.dataset=scenes_depth", root)
    assert "huber" in refusal(capsys, "fit", "-c=scenes_depth", "--model.loss=huber", root)
    assert "swish" in refusal(capsys, "fit", "-c=scenes_depth", "--model.activation=swish", root)
    assert "avrage" in refusal(capsys, "fit", "-c=scenes_depth", '--model.metric_options={"avrage": "pixel"}', root)


def image_scores(run_id: RunId) -> dict[str, float]:
    """Score of each validation image, by the image's name."""
    with (run_id.directory / "val-images.csv").open() as file:
        return {row["image"]: float(row["abs_rel"]) for row in csv.DictReader(file)}


def differences(one: RunId, other: RunId) -> float:
    first, second = weights(one), weights(other)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--trainer.devices=2", "--trainer.accumulate_grad_batches=3"], ["--trainer.devices=4"]])
def test_training_is_equal_on_any_number_of_processes(single, tmp_path, more):
    several = fit(tmp_path, EXACT, *more)
    assert results(several)["world_size"] > 1
    assert results(several)["training"]["steps"] == results(single)["training"]["steps"] == 6
    assert differences(single, several) < 1e-12
    one, other = (results(one)["evaluations"]["val"] for one in (single, several))
    for name in "loss", "abs_rel", "rmse", "silog", "delta1":
        assert other[name] == pytest.approx(one[name], rel=1e-11)
    assert image_scores(several) == pytest.approx(image_scores(single), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_resumes_bit_equal_after_signal(tmp_path, devices):
    more = [f"--trainer.devices={devices}", "--data.num_workers=1"]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    uninterrupted = fit(straight, RESUMED, *more)
    arguments = ["fit", *RESUMED, *more, f"--run.root={stopped}"]
    assert kill_at(arguments, r"Epoch 1: +[2-6]0%", signal.SIGTERM)[0] == STOPPED
    resumed = fit(stopped, RESUMED, *more)
    assert same(weights(resumed), weights(uninterrupted))
    for part in "curve", "evaluations", "best":
        assert results(resumed)[part] == results(uninterrupted)[part]


@pytest.mark.slow
def test_table(tmp_path):
    words = ["chained_pooling", "--on=scenes_depth", "--cells", "no_unit", "pool_conv_4", "--seeds=2", f"--root={tmp_path}"]
    output = run("ablate", "run", *words, "--", *DEPTH[:-2], DEPTH[-1], "--trainer.max_epochs=1")
    group = tmp_path / "chained_pooling@scenes_depth"
    assert "AbsRel" in output and "lower is better" in output
    assert {"chained_pooling@scenes_depth.csv", "chained_pooling@scenes_depth.png"} <= {path.name for path in group.iterdir()}
    run("report", str(tmp_path), "-o", str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").read_text().count("data:image/png") >= 4
    assert torch.load(group / "no_unit/seed0/best.ckpt", weights_only=True)["state_dict"]
