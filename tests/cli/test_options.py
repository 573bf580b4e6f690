"""Options of Lightning's Trainer and Lightning's callbacks: each works as documented, or is refused."""

import csv
import inspect
import re
import sys
from pathlib import Path

import lightning.pytorch.callbacks
import numpy as np
import pytest
import torch
from helpers.running import QUICK, fit, record, refusal, same
from lightning import Callback, Trainer

from refinenet_pl.callbacks.sample_files import read_samples
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.main import main
from refinenet_pl.cli.options import CALLBACKS_PASSED_ON, CALLBACKS_REFUSED, PASSED_ON, REFUSED
from refinenet_pl.datasets.scenes import Scenes

pytestmark = pytest.mark.usefixtures("in_repository")


class StopAfterAnEpoch(Callback):
    def on_train_epoch_start(self, trainer, task):
        if trainer.current_epoch == 1:
            sys.exit("stopped")


def to_arguments(options: list[str]) -> list[str]:
    return [f"--trainer.{option.replace('callbacks+=', 'callbacks+=lightning.pytorch.callbacks.')}" for option in options]


def scores_of_last_checkpoint(root: Path, *arguments: str) -> dict:
    (file,) = root.rglob("last.ckpt")
    skipped = ("--trainer.callbacks", "--trainer.fast", "--trainer.limit_train")
    plain = [argument for argument in arguments if not argument.startswith(skipped)]
    main(["validate", *QUICK, f"--run.root={root}", *plain, f"--ckpt_path={file}"])
    return record(root)["evaluations"]["val of last.ckpt"]


def test_lists_contain_all_options_and_callbacks():
    options = set(inspect.signature(Trainer).parameters)
    assert options == PASSED_ON | REFUSED.keys() and not PASSED_ON & REFUSED.keys()
    shipped = set(lightning.pytorch.callbacks.__all__)
    assert {kind.__name__ for kind in CALLBACKS_REFUSED} <= shipped
    others = {name for name in shipped if not issubclass(getattr(lightning.pytorch.callbacks, name), tuple(CALLBACKS_REFUSED))}
    assert others == CALLBACKS_PASSED_ON


UNCHANGED = [
    "accumulate_grad_batches=2", "benchmark=true", "detect_anomaly=true", "deterministic=true", "enable_autolog_hparams=false",
    "enable_model_summary=true enable_progress_bar=true", "gradient_clip_val=0.5 gradient_clip_algorithm=value",
    "inference_mode=false", "limit_train_batches=1.0", "limit_val_batches=1", "limit_val_batches=0.5", "logger=false",
    "logger=true log_every_n_steps=1", "max_epochs=1 min_epochs=1 min_steps=1", "num_sanity_val_steps=1", "precision=64-true",
    "profiler=simple", "use_distributed_sampler=true", "callbacks+=LearningRateMonitor logger=true",
    "callbacks+=EarlyStopping callbacks.monitor=val/miou callbacks.mode=max callbacks.stopping_threshold=0 max_epochs=3",
    "callbacks+=ModelCheckpoint callbacks.monitor=train/loss callbacks.filename=mine",
    "callbacks+=ModelCheckpoint callbacks.every_n_train_steps=1 callbacks.save_top_k=-1",
    "callbacks+=Timer callbacks.duration=00:01:00:00", "callbacks+=ModelSummary callbacks.max_depth=2",
    "callbacks+=TQDMProgressBar enable_progress_bar=true",
]  # fmt: skip
"""Options of an epoch of three steps with a validation at its end."""

CHANGED = {
    "check_val_every_n_epoch=2 max_epochs=3": (9, [6]), "val_check_interval=2": (3, [2]),
    "check_val_every_n_epoch=null val_check_interval=2 max_epochs=2": (6, [2, 4, 6]), "val_check_interval=0.34": (3, [1, 2, 3]),
    "limit_train_batches=2": (2, [2]), "limit_train_batches=1": (1, [1]), "max_epochs=-1 max_steps=5": (5, [3]),
    "max_epochs=2 max_steps=4": (4, [3]), "max_epochs=1000 max_time=00:00:00:00": (0, []),
    "overfit_batches=1 max_epochs=2": (2, [1, 2]), "overfit_batches=0.7": (2, [2]),
    "reload_dataloaders_every_n_epochs=1 max_epochs=2": (6, [3, 6]),
    "callbacks+=EMAWeightAveraging callbacks.decay=0.5 max_epochs=2": (6, [3, 6]),
}  # fmt: skip
"""Number of steps, and steps of the validations, with other options."""


@pytest.mark.parametrize("options", [*UNCHANGED, *CHANGED])
def test_option_works_and_the_last_checkpoint_is_scored(tmp_path, options):
    arguments = to_arguments(options.split())
    trained = fit(tmp_path, *arguments)
    steps = [point["step"] for point in trained["curve"]]
    assert (trained["training"]["steps"], steps) == CHANGED.get(options, (3, [3]))
    validation = trained["evaluations"]["val"]
    assert validation["checkpoint"] == "last.ckpt"
    assert validation["confusion"] == scores_of_last_checkpoint(tmp_path, *arguments)["confusion"]
    if trained["best"]:
        assert trained["best"]["miou"] == pytest.approx(max(point["miou"] for point in trained["curve"]), abs=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_low_precision(tmp_path, precision):
    trained = fit(tmp_path, f"--trainer.precision={precision}")
    scored = scores_of_last_checkpoint(tmp_path, f"--trainer.precision={precision}")
    assert trained["evaluations"]["val"]["pixel_accuracy"] == pytest.approx(scored["pixel_accuracy"], abs=0.02)
    task, _ = load_for_prediction(next(tmp_path.rglob("last.ckpt")))
    assert task.predict_mask(torch.zeros(1, 3, 40, 50, dtype=torch.uint8)).shape == (1, 40, 50)


def test_limited_or_missing_validation_and_checkpoints(tmp_path):
    validation = fit(tmp_path / "limited", "--trainer.limit_val_batches=2")["evaluations"]["val"]
    assert validation["limit_batches"] == 2 and np.sum(validation["confusion"]) <= 2 * 64 * 64
    none = fit(tmp_path / "none", "--trainer.limit_val_batches=0", "--data.val_split=nowhere", "--model.test_scales=[0.5,1.0]")
    assert none["evaluations"] == {} and none["curve"] == [] and none["best"] is None
    unsaved = fit(tmp_path / "unsaved", "--trainer.enable_checkpointing=false")
    assert unsaved["evaluations"]["val"]["checkpoint"] is None and unsaved["best"] is None
    assert not list((tmp_path / "unsaved").rglob("*.ckpt"))


def test_overfitting_repeats_the_same_batch(tmp_path):
    options = ["--track=csv", "--trainer.log_every_n_steps=1", "--trainer.overfit_batches=1", "--trainer.max_epochs=12"]
    fit(tmp_path, *options, "--model.learning_rate=0.02")
    (file,) = tmp_path.rglob("metrics.csv")
    losses = [float(row["train/loss"]) for row in csv.DictReader(file.open()) if row["train/loss"]]
    assert losses[-1] < 0.8 * losses[0]


def test_averaged_weights_are_saved_and_predict_the_samples(tmp_path):
    fit(tmp_path, *to_arguments(["callbacks+=EMAWeightAveraging", "callbacks.decay=0.99"]))
    task, _ = load_for_prediction(next(tmp_path.rglob("last.ckpt")))
    dataset = Scenes(split="val", size=64, samples=6)
    samples = read_samples(next(tmp_path.rglob("samples")), Scenes.classes)
    assert len(samples) == 4
    for sample in samples:
        image, label = dataset.read(int(sample.name.removeprefix("val_")))
        with torch.inference_mode():
            mask = task.predict_mask(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])[0]
        assert np.array_equal(sample.prediction, mask) and np.array_equal(sample.label, label)


@pytest.mark.parametrize(
    "options",
    [
        "limit_train_batches=2", "overfit_batches=2", "reload_dataloaders_every_n_epochs=1",
        "callbacks+=EMAWeightAveraging callbacks.decay=0.5",
    ],
)  # fmt: skip
def test_resumes_bit_equal(tmp_path, options):
    arguments = [*to_arguments(options.split()), "--trainer.max_epochs=2"]
    fit(tmp_path / "whole", *arguments)
    with pytest.raises(SystemExit, match="stopped"):
        fit(tmp_path / "halves", *arguments, f"--trainer.callbacks+={StopAfterAnEpoch.__module__}.StopAfterAnEpoch")
    (config,) = (tmp_path / "halves").rglob("config.yaml")
    config.unlink()  # contains the callback
    fit(tmp_path / "halves", *arguments)
    files = [next((tmp_path / name).rglob("last.ckpt")) for name in ("whole", "halves")]
    whole, halves = (torch.load(file, weights_only=True) for file in files)
    assert same(whole["state_dict"], halves["state_dict"])
    if "EMA" in options:
        assert same(whole["current_model_state"], halves["current_model_state"])
        assert not same(whole["state_dict"], whole["current_model_state"])


REFUSED_OPTIONS = {
    "max_epochs=-1": "trainer.max_epochs and trainer.max_steps are both -1",
    "check_val_every_n_epoch=null val_check_interval=0.5": "trainer.val_check_interval is 0.5",
    "plugins+=lightning.pytorch.plugins.TorchCheckpointIO": "trainer.plugins: TorchCheckpointIO is not available",
    "callbacks+=DeviceStatsMonitor": "DeviceStatsMonitor", "accelerator=gpu": "trainer.accelerator",
    "accelerator=nonsense": "nonsense", "precision=transformer-engine": "transformer_engine",
}  # fmt: skip
UNAVAILABLE = [
    "default_root_dir=elsewhere", "callbacks+=LearningRateFinder",
    "barebones=true", "limit_predict_batches=3", "model_registry=mine", "strategy=ddp_spawn", "strategy=fsdp",
    "strategy=deepspeed", "callbacks+=BackboneFinetuning", "callbacks+=BatchSizeFinder",
    'callbacks+=GradientAccumulationScheduler callbacks.scheduling={"0":2}',
    "callbacks+=ModelPruning callbacks.pruning_fn=l1_unstructured",
    "callbacks+=StochasticWeightAveraging callbacks.swa_lrs=0.1",
]  # fmt: skip


@pytest.mark.parametrize("options", [*REFUSED_OPTIONS, *UNAVAILABLE])
def test_unavailable_options_are_refused_at_the_start(tmp_path, capsys, options):
    name, _, value = options.split()[0].partition("=")
    subject = value if name == "callbacks+" else f"trainer.{name}"
    message = refusal(capsys, "fit", f"--run.root={tmp_path}", *to_arguments(options.split()))
    assert re.search(REFUSED_OPTIONS.get(options, rf"{subject} ({value} )?is not available"), message)
    assert not list(tmp_path.rglob("results.json")) and not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(("command", "option"), [("validate", "limit_val_batches"), ("test", "limit_test_batches")])
def test_empty_evaluation_is_refused(tmp_path, capsys, command, option):
    assert f"trainer.{option} is 0" in refusal(capsys, command, f"--run.root={tmp_path}", f"--trainer.{option}=0")
