"""Training and evaluation of continuous values."""

import lightning
import pytest
import torch
from helpers.networks import tiny

from refinenet_pl.datamodule.values import ValueDataModule
from refinenet_pl.datasets.values import Values
from refinenet_pl.tasks.losses.pointwise import L1
from refinenet_pl.tasks.losses.values import LOSSES
from refinenet_pl.tasks.regression import RegressionTask

DEPTH = Values(("depth",), "depth", "m")


def data(name: str, samples: int = 8, **arguments) -> ValueDataModule:
    options = {"size": 64, "samples": samples}
    more = {"crop_size": (64, 64), "global_batch": 4, "num_workers": 0, "dataset_options": options} | arguments
    return ValueDataModule(name, **more)


def trainer(**arguments) -> lightning.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return lightning.Trainer(accelerator="cpu", devices=1, use_distributed_sampler=False, **quiet, **arguments)


@pytest.mark.parametrize(
    "name, loss, activation, score",
    [
        ("scenes_depth", "silog", "softplus", "delta1"),
        ("scenes_depth", {"l1": 1.0, "gradient": 0.5}, "exp", "delta1"),
        ("scenes_keypoints", "l2", "sigmoid", "pck_20"),
        ("scenes_labels", "bce", "sigmoid", "label_miou"),
        ("scenes_labels", {"bce": 1.0, "dice": 0.5}, "sigmoid", "label_f1"),
        ("scenes_depth", torch.nn.SmoothL1Loss(), "softplus", "delta1"),
    ],
)
def test_trains(tmp_path, name, loss, activation, score):
    module = data(name)
    task = RegressionTask(
        tiny(classes=len(module.values)), module.values, loss, activation, optimizer="adamw", learning_rate=1e-3
    )
    fitted = trainer(max_epochs=2, enable_checkpointing=False)
    fitted.fit(task, module)
    result = task.results["val"]
    assert fitted.global_step == 4 and 0 <= getattr(result.scores, score) <= 1
    assert fitted.callback_metrics[f"val/{score}"] == pytest.approx(getattr(result.scores, score))
    assert result.to_dict()["loss"] > 0


def test_overfits_one_batch():
    module = data("scenes_depth", samples=4, scales=(1.0,), flip=False)
    task = RegressionTask(
        tiny(classes=1, dropout=0.0), module.values, "silog", "softplus", optimizer="adamw", learning_rate=3e-3,
        encoder_learning_rate_factor=1.0,
    )  # fmt: skip
    fitted, losses = trainer(max_epochs=30, enable_checkpointing=False, limit_val_batches=0), []
    log = task.log
    task.log = lambda name, value, **options: (losses.append((name, float(value))), log(name, value, **options))
    fitted.fit(task, module)
    first, *_, last = (value for name, value in losses if name == "train/loss")
    assert last < 0.4 * first


def test_loss_is_the_mean_over_known_values():
    task = RegressionTask(tiny(classes=1), DEPTH)
    target = torch.rand(2, 1, 32, 32) + 1
    target[0, :, :20] = torch.nan
    batch = {"image": torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8), "target": target, "seeds": [1, 2]}
    task.eval()
    expected = (task(batch["image"]) - target).abs()[~target.isnan()].mean()
    assert torch.isclose(task.training_step(batch, 0), expected)
    assert isinstance(task.criterion, L1)


def test_loss_of_labels():
    """Training and evaluation compute the same mean, one from the output and the other from probabilities."""
    module = data("scenes_labels")
    weighted = LOSSES["bce"](positive_weights=[0.5, 3.0])
    task = RegressionTask(tiny(classes=2), module.values, weighted, "sigmoid").eval()
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    found = task.training_step(batch, 0)
    target = batch["target"].as_subclass(torch.Tensor)
    p, known = task(batch["image"]).double(), ~target.isnan()
    terms = torch.tensor([0.5, 3.0])[:, None, None] * target * p.log() + (1 - target) * (1 - p).log()
    assert known.any() and not known.all()
    torch.testing.assert_close(found.double(), -terms[known].mean(), rtol=1e-5, atol=0)
    task.evaluate("val", batch)
    assert task.compute_result("val", "", ()).loss == pytest.approx(float(found), rel=1e-4)


def test_labels_are_probabilities():
    labels = Values(("a", "b"), "labels", range=(0.0, 1.0))
    with pytest.raises(ValueError, match="activation is 'none', but labels"):
        RegressionTask(tiny(classes=2), labels, "l2")
    with pytest.raises(ValueError, match="threshold is 1"):
        RegressionTask(tiny(classes=2), labels, "l2", "sigmoid", {"threshold": 1})


def test_checkpoint_has_the_meaning_of_the_values(tmp_path):
    module = data("scenes_keypoints")
    task = RegressionTask(tiny(classes=3), module.values, "l2", "sigmoid", test_flip=True)
    fitted = trainer(max_steps=1, limit_val_batches=1, default_root_dir=tmp_path)
    fitted.fit(task, module)
    file = tmp_path / "one.ckpt"
    fitted.save_checkpoint(file)
    loaded = RegressionTask.load_from_checkpoint(file, network=tiny(classes=3), weights_only=False)
    assert loaded.values == module.values and loaded.test_inference.flip
    image = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    task.eval(), loaded.eval()
    with torch.inference_mode():
        assert torch.equal(loaded.predict_values(image), task.predict_values(image))


@pytest.mark.parametrize(
    "arguments, named",
    [({"loss": "huber"}, "huber"), ({"loss": {"l1": 1, "x": 1}}, "'x'"), ({"learning_rate": 0}, "learning_rate")],
)
def test_invalid_arguments_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        RegressionTask(tiny(classes=1), DEPTH, **arguments)
