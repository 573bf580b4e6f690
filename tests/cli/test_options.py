"""Every option of Lightning's Trainer and every callback that Lightning ships: does what it documents, or is refused."""

import csv
import inspect
import json
import re
import sys
from pathlib import Path

import lightning.pytorch.callbacks
import numpy as np
import pytest
import torch
from helpers.repository import REPOSITORY
from helpers.running import QUICK, fit, refusal, same
from lightning import Callback, Trainer
from PIL import Image

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.main import main
from refinenet_pl.cli.options import CALLBACKS_PASSED_ON, CALLBACKS_REFUSED, PASSED_ON, REFUSED
from refinenet_pl.datasets.scenes import Scenes

CALLBACKS = "lightning.pytorch.callbacks."


class StopAfterAnEpoch(Callback):
    """Ends the process as a kill after the first epoch's checkpoint does."""

    def on_train_epoch_start(self, trainer, task):
        if trainer.current_epoch == 1:
            sys.exit("stopped")


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def scores_of_the_last_checkpoint(root: Path, *arguments: str) -> dict:
    """The scores that last.ckpt has in a command of its own."""
    (file,) = root.rglob("last.ckpt")
    plain = [
        word for word in arguments if not word.startswith(("--trainer.callbacks", "--trainer.fast", "--trainer.limit_train"))
    ]
    main(["validate", *QUICK, f"--run.root={root}", *plain, f"--ckpt_path={file}"])
    return json.loads((file.parent / "results.json").read_text())["evaluations"]["val of last.ckpt"]


def test_no_option_of_lightning_is_forgotten():
    options = set(inspect.signature(Trainer).parameters)
    assert options == PASSED_ON | REFUSED.keys() and not PASSED_ON & REFUSED.keys()
    shipped = set(lightning.pytorch.callbacks.__all__)
    refused = {kind for kind in CALLBACKS_REFUSED}
    assert {kind.__name__ for kind in refused} <= shipped
    others = {name for name in shipped if not issubclass(getattr(lightning.pytorch.callbacks, name), tuple(refused))}
    assert others == CALLBACKS_PASSED_ON


# Each option that is passed on, with a value other than its default, and the steps and validations that this gives.
@pytest.mark.parametrize(
    ("options", "steps", "validated"),
    [
        (["accumulate_grad_batches=2"], 3, [3]),
        (["benchmark=true"], 3, [3]),
        (["check_val_every_n_epoch=2", "max_epochs=3"], 9, [6]),
        (["check_val_every_n_epoch=null", "val_check_interval=2", "max_epochs=2"], 6, [2, 4, 6]),
        (["detect_anomaly=true"], 3, [3]),
        (["deterministic=true"], 3, [3]),
        (["enable_autolog_hparams=false"], 3, [3]),
        (["enable_model_summary=true", "enable_progress_bar=true"], 3, [3]),
        (["gradient_clip_val=0.5", "gradient_clip_algorithm=value"], 3, [3]),
        (["inference_mode=false"], 3, [3]),
        (["limit_train_batches=2"], 2, [2]),
        (["limit_train_batches=1.0"], 3, [3]),
        (["limit_train_batches=1"], 1, [1]),
        (["limit_val_batches=1"], 3, [3]),
        (["limit_val_batches=0.5"], 3, [3]),
        (["limit_val_batches=0"], 3, []),
        (["logger=false"], 3, [3]),
        (["logger=true", "log_every_n_steps=1"], 3, [3]),
        (["max_epochs=-1", "max_steps=5"], 5, [3]),
        (["max_epochs=2", "max_steps=4"], 4, [3]),
        (["max_epochs=1", "min_epochs=1", "min_steps=1"], 3, [3]),
        (["max_epochs=1000", "max_time=00:00:00:00"], 0, []),
        (["num_sanity_val_steps=1"], 3, [3]),
        (["overfit_batches=1", "max_epochs=2"], 2, [1, 2]),
        (["overfit_batches=0.7"], 2, [2]),
        (["precision=64-true"], 3, [3]),
        (["profiler=simple"], 3, [3]),
        (["reload_dataloaders_every_n_epochs=1", "max_epochs=2"], 6, [3, 6]),
        (["use_distributed_sampler=true"], 3, [3]),
        (["val_check_interval=2"], 3, [2]),
        (["val_check_interval=0.34"], 3, [1, 2, 3]),
        (
            [
                "callbacks+=EarlyStopping",
                "callbacks.monitor=val/miou",
                "callbacks.mode=max",
                "callbacks.stopping_threshold=0",
                "max_epochs=3",
            ],
            3,
            [3],
        ),
        (["callbacks+=EMAWeightAveraging", "callbacks.decay=0.5", "max_epochs=2"], 6, [3, 6]),
        (["callbacks+=ModelCheckpoint", "callbacks.monitor=train/loss", "callbacks.filename=mine"], 3, [3]),
        (["callbacks+=ModelCheckpoint", "callbacks.every_n_train_steps=1", "callbacks.save_top_k=-1"], 3, [3]),
        (["callbacks+=Timer", "callbacks.duration=00:01:00:00"], 3, [3]),
        (["callbacks+=ModelSummary", "callbacks.max_depth=2"], 3, [3]),
        (["callbacks+=TQDMProgressBar", "enable_progress_bar=true"], 3, [3]),
        (["callbacks+=LearningRateMonitor", "logger=true"], 3, [3]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and isinstance(value[0], str) else "",
)
def test_a_run_with_the_option_scores_its_last_checkpoint(tmp_path, options, steps, validated):
    arguments = [f"--trainer.{option.replace('callbacks+=', f'callbacks+={CALLBACKS}')}" for option in options]
    record = fit(tmp_path, *arguments)
    assert record["training"]["steps"] == steps
    assert [point["step"] for point in record["curve"]] == validated
    if "limit_val_batches=0" in options:
        assert record["evaluations"] == {} and record["best"] is None
        return
    said = record["evaluations"]["val"]
    scored = scores_of_the_last_checkpoint(tmp_path, *arguments)
    assert said["checkpoint"] == "last.ckpt" and said["confusion"] == scored["confusion"]
    if record["best"]:
        assert record["best"]["miou"] == pytest.approx(max(point["miou"] for point in record["curve"]), abs=1e-6)


def test_scores_in_a_lower_precision_are_the_last_checkpoints_but_for_rounding(tmp_path):
    record = fit(tmp_path, "--trainer.precision=bf16-mixed")
    scored = scores_of_the_last_checkpoint(tmp_path, "--trainer.precision=bf16-mixed")
    assert record["evaluations"]["val"]["pixel_accuracy"] == pytest.approx(scored["pixel_accuracy"], abs=0.02)


def test_weights_in_a_lower_precision_are_used_in_full_precision(tmp_path):
    fit(tmp_path, "--trainer.precision=bf16-true")
    (file,) = tmp_path.rglob("last.ckpt")
    task, _ = load_for_prediction(file)
    assert task.predict_mask(torch.zeros(1, 3, 40, 50, dtype=torch.uint8)).shape == (1, 40, 50)


def test_a_part_of_a_split_is_recorded_as_a_part(tmp_path):
    record = fit(tmp_path, "--trainer.limit_val_batches=2")
    assert record["evaluations"]["val"]["limit_batches"] == 2
    assert sum(map(sum, record["evaluations"]["val"]["confusion"])) <= 2 * 64 * 64


def test_without_checkpoints_no_file_is_named(tmp_path):
    record = fit(tmp_path, "--trainer.enable_checkpointing=false")
    assert record["evaluations"]["val"]["checkpoint"] is None and record["best"] is None
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_run_without_validation_needs_no_validation_split(tmp_path):
    record = fit(tmp_path, "--trainer.limit_val_batches=0", "--data.val_split=nowhere", "--model.test_scales=[0.5,1.0]")
    assert record["evaluations"] == {} and record["curve"] == []


def test_overfitting_sees_the_same_batch_in_each_epoch(tmp_path):
    first, *others = _losses(tmp_path, "--trainer.overfit_batches=1", "--trainer.max_epochs=12", "--model.learning_rate=0.02")
    assert others[-1] < 0.8 * first


def _losses(root: Path, *arguments: str) -> list[float]:
    fit(root, "--track=csv", "--trainer.log_every_n_steps=1", *arguments)
    (file,) = root.rglob("metrics.csv")
    return [float(row["train/loss"]) for row in csv.DictReader(file.open()) if row["train/loss"]]


def test_weights_that_a_callback_averages_are_those_of_the_checkpoint_and_of_the_samples(tmp_path):
    averaging = ["--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging", "--trainer.callbacks.decay=0.99"]
    fit(tmp_path, *averaging)
    (file,) = tmp_path.rglob("last.ckpt")
    task, _ = load_for_prediction(file)
    dataset = Scenes(split="val", size=64, samples=6)
    for prediction in tmp_path.rglob("*-prediction.png"):
        index = int(prediction.name.split("-")[0].removeprefix("val_"))
        with torch.inference_mode():
            mask = task.predict_mask(torch.from_numpy(dataset.read(index)[0].copy()).permute(2, 0, 1)[None])[0]
        assert np.array_equal(np.array(Image.open(prediction)), mask)


@pytest.mark.parametrize(
    "options",
    [["--trainer.limit_train_batches=2"], ["--trainer.overfit_batches=2"], ["--trainer.reload_dataloaders_every_n_epochs=1"]],
    ids=lambda options: options[0],
)
def test_a_run_with_part_of_its_batches_resumes_to_the_bit(tmp_path, options):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    arguments = [*options, "--trainer.max_epochs=2"]
    fit(whole, *arguments)
    stop = f"--trainer.callbacks+={StopAfterAnEpoch.__module__}.StopAfterAnEpoch"
    with pytest.raises(SystemExit, match="stopped"):
        fit(halves, *arguments, stop)
    (config,) = halves.rglob("config.yaml")
    config.unlink()  # it has the callback that stopped it
    fit(halves, *arguments)
    one, other = (torch.load(next(root.rglob("last.ckpt")), weights_only=True)["state_dict"] for root in (whole, halves))
    assert same(one, other)


# Refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["barebones=true"], "trainer.barebones is not available"),
        (["default_root_dir=elsewhere"], "trainer.default_root_dir is not available: .* give --run.root"),
        (["limit_predict_batches=3"], "trainer.limit_predict_batches is not available"),
        (["model_registry=mine"], "trainer.model_registry is not available"),
        (["max_epochs=-1"], "trainer.max_epochs is -1 and trainer.max_steps too"),
        (["check_val_every_n_epoch=null", "val_check_interval=0.5"], "trainer.val_check_interval is 0.5, a share of an epoch"),
        *[([f"strategy={name}"], f"trainer.strategy {name} is not available") for name in ("ddp_spawn", "fsdp", "deepspeed")],
        (["plugins+=lightning.pytorch.plugins.TorchCheckpointIO"], "trainer.plugins: TorchCheckpointIO is not available"),
        (["callbacks+=BackboneFinetuning"], "BackboneFinetuning is not available"),
        (["callbacks+=BatchSizeFinder"], "BatchSizeFinder is not available"),
        (["callbacks+=GradientAccumulationScheduler", "callbacks.scheduling={0: 2}"], "GradientAccumulationScheduler is not"),
        (["callbacks+=LearningRateFinder"], "LearningRateFinder is not available: .*learning_rate_sensitivity"),
        (["callbacks+=ModelPruning", "callbacks.pruning_fn=l1_unstructured"], "ModelPruning is not available"),
        (["callbacks+=StochasticWeightAveraging", "callbacks.swa_lrs=0.1"], "StochasticWeightAveraging is not available"),
        (["callbacks+=DeviceStatsMonitor"], "DeviceStatsMonitor"),
        (["accelerator=gpu"], "trainer.accelerator"),
        (["accelerator=nonsense"], "nonsense"),
        (["precision=transformer-engine"], "transformer_engine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_a_run_cannot_do_is_refused_at_the_start(tmp_path, capsys, options, message):
    arguments = [f"--trainer.{option.replace('callbacks+=', f'callbacks+={CALLBACKS}')}" for option in options]
    said = refusal(capsys, "fit", f"--run.root={tmp_path}", *arguments)
    assert re.search(message, said) and "Traceback" not in said
    assert not list(tmp_path.rglob("results.json")) and not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("command", ["validate", "test"])
def test_an_evaluation_of_nothing_is_refused(tmp_path, capsys, command):
    limit = {"validate": "limit_val_batches", "test": "limit_test_batches"}[command]
    assert f"trainer.{limit} is 0" in refusal(capsys, command, f"--run.root={tmp_path}", f"--trainer.{limit}=0")
