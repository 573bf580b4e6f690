"""A training whose numbers are no longer finite: it ends, says since when, and leaves no score and no weights to use."""

import json

import numpy as np
import pytest
import torch
from helpers.repository import REPOSITORY
from helpers.running import QUICK, fit, record, refusal, run
from helpers.tables import TABLE
from lightning import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from refinenet_pl import RefineNet
from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.rendering import render
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.callbacks.results import write_json
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.checkpoints.model_directory import read_model_directory, write_model_directory
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import CheckpointError
from refinenet_pl.exit_codes import DIVERGED
from refinenet_pl.state_dicts import digest
from refinenet_pl.tasks.divergence import DivergenceError, DivergenceWatch
from refinenet_pl.tasks.segmentation import SegmentationTask

DIVERGING = [
    "--model.optimizer=sgd", "--model.learning_rate=1e6", "--model.encoder_learning_rate_factor=1",
    "--trainer.gradient_clip_val=null", "--trainer.max_epochs=4",
]  # fmt: skip
CLASSES = Classes(("road", "car"), ((1, 2, 3), (4, 5, 6)))


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    """The directory of all runs, with one that diverged, and what its command printed."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.chdir(REPOSITORY)
        fit(root, *DIVERGING)
    assert ended.value.code == DIVERGED
    return root


def test_a_run_that_diverges_leaves_a_record_without_scores(diverged):
    kept = record(diverged)
    assert kept["diverged"]["step"] >= 1 and "not finite (NaN or infinity) since step" in kept["diverged"]["reason"]
    assert kept["evaluations"] == {} and kept["best"] is None
    for checkpoint in diverged.rglob("*.ckpt"):
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(tensor.isfinite().all() for tensor in state.values())


def test_the_message_names_the_step_and_what_to_try(tmp_path, capsys):
    said = refusal(capsys, "fit", f"--run.root={tmp_path}", *DIVERGING)
    step = record(tmp_path)["diverged"]["step"]
    assert f"since step {step}; try a lower model.learning_rate (now 1e+06), trainer.gradient_clip_val" in said
    assert "Traceback" not in said


def test_started_again_it_says_so_and_trains_nothing(diverged, capsys):
    before = {path: path.stat().st_mtime_ns for path in diverged.rglob("*") if path.is_file()}
    said = refusal(capsys, "fit", f"--run.root={diverged}", *DIVERGING)
    assert said.startswith(f"{DIVERGED} ") and "this run diverged" in said and "--run.cell" in said
    assert {path: path.stat().st_mtime_ns for path in diverged.rglob("*") if path.is_file()} == before


def test_two_processes_end_alike(tmp_path):
    output = run("fit", *QUICK, *DIVERGING, "--trainer.devices=2", f"--run.root={tmp_path}", code=DIVERGED)
    assert record(tmp_path)["diverged"]["reason"] in output and output.count("since step") == 2


def test_a_table_shows_the_cell_as_diverged(diverged, tmp_path):
    kept = record(diverged)
    (tmp_path / "mine.yaml").write_text(TABLE)
    for cell in "paper", "shallow":
        run_directory = tmp_path / "runs" / "mine@scenes" / cell / "seed0"
        run_directory.mkdir(parents=True)
        named = kept | {"run": {"recipe": "scenes", "table": "mine", "cell": cell, "seed": 0}}
        if cell == "paper":
            del named["diverged"]
            named["evaluations"] = {"val": {"miou": 0.5}}
        write_json(run_directory / "results.json", named)
    report = build_report(read_table(tmp_path / "mine.yaml"), "scenes", str(tmp_path / "runs"), [0])
    table = render(report)
    assert "| shallow" in table and "| diverged" in table and f"shallow-seed0 diverged: {kept['diverged']['reason']}" in table
    assert report.rows[1].score.mean is None and report.rows[0].score.mean == 50


def spoiled(network: nn.Module, value: float) -> nn.Module:
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = value
    return network


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_used(tmp_path, value, capsys):
    network = RefineNet("resnet18", None, classes=2, width=8, deepest_width=8)
    write_model_directory(tmp_path / "model", spoiled(network, value), CLASSES)
    for read in read_model_directory, load_for_prediction, RefineNet.from_pretrained:
        with pytest.raises(CheckpointError, match="1 of .* tensors hold NaN or infinity") as refused:
            read(tmp_path / "model")
        assert str(tmp_path / "model") in str(refused.value)
    with pytest.raises(SystemExit, match="hold NaN or infinity"):
        main(
            ["predict", "docs/scenes.png", f"--ckpt_path={tmp_path / 'model'}", "--device=cpu", f"--output={tmp_path / 'out'}"]
        )


def test_a_checkpoint_that_is_not_finite_is_neither_scored_nor_trained_on(tmp_path, capsys):
    fit(tmp_path)
    (file,) = tmp_path.rglob("last.ckpt")
    checkpoint = torch.load(file, weights_only=True)
    next(iter(checkpoint["state_dict"].values()))[0, 0, 0, 0] = float("nan")
    torch.save(checkpoint, file)
    (tmp_path / next(tmp_path.rglob("results.json"))).unlink()
    for command, options in ("validate", [f"--ckpt_path={file}"]), ("fit", []):
        said = refusal(capsys, command, f"--run.root={tmp_path}", *options)
        assert str(file) in said and "hold NaN or infinity" in said


class Constant(nn.Module):
    """Logits of a single value, NaN from the second step on if asked for."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.factor = 1.0

    def forward(self, x):
        return x[:, :2] * 0 + self.value * self.factor


class Data(LightningDataModule):
    classes = CLASSES

    def train_dataloader(self):
        sample = {"image": torch.zeros(3, 4, 4, dtype=torch.uint8), "mask": torch.zeros(4, 4, dtype=torch.long), "name": "a"}
        return DataLoader([sample] * 30, batch_size=1)

    val_dataloader = train_dataloader


def test_class_scores_that_are_nan_are_no_prediction():
    network = Constant()
    network.factor = float("nan")
    with pytest.raises(FloatingPointError, match="class scores are NaN"):
        SegmentationTask(network, 2).eval().predict_mask(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize(("step", "value"), [(1, "nan"), (4, "nan"), (7, "inf")])
def test_the_first_step_that_is_not_finite_is_named(step, value):
    class Spoiling(SegmentationTask):
        def training_step(self, batch, batch_index):
            self.network.factor = float(value) if batch_index + 1 == step else 1.0
            return super().training_step(batch, batch_index)

    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=1, accelerator="cpu")
    with pytest.raises(DivergenceError, match=f"since step {step};") as ended:
        trainer.fit(Spoiling(Constant(), 2), datamodule=Data())
    assert ended.value.step == step


def test_the_watch_remembers_the_first_step_across_many():
    watch = DivergenceWatch()
    assert watch.read() is None and not watch.is_due(10)
    good, bad = torch.tensor(1.0), torch.tensor(float("nan"))
    watch.note(1, [good, good])
    watch.note(2, [good])  # without a norm, as under a scaler
    assert watch.read() is None
    watch.note(3, [good, bad])
    watch.note(4, [bad, bad])
    assert watch.read() == (3, "the gradient norm is")


def test_digest_tells_weights_apart_by_names_and_values():
    state = {"a": torch.ones(2, 3), "b": torch.zeros(1, dtype=torch.bfloat16)}
    assert digest(state) == digest({name: tensor.clone() for name, tensor in state.items()})
    image = torch.rand(2, 3, 4, 5)
    assert digest({"a": image.contiguous(memory_format=torch.channels_last)}) == digest({"a": image})
    others = {"c": state["a"], "b": state["b"]}, state | {"a": torch.ones(2, 3) + 1e-6}
    assert len({digest(state), *map(digest, others)}) == 3


def test_numbers_that_json_does_not_have_become_null(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [1.5, float("-inf")], "c": {"d": (float("inf"), 2)}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1.5, None], "c": {"d": [None, 2]}}


def test_a_split_of_void_alone_has_no_score_and_no_nan(tmp_path):
    kept = fit(tmp_path, "--data.dataset=test_divergence.AllVoid", "--data.dataset_options={}", "--model.loss_at=image")
    assert kept["evaluations"]["val"]["miou"] is None and kept["evaluations"]["val"]["loss"] is None
    assert [point["miou"] for point in kept["curve"]] == [None]


class AllVoid(Scenes):
    """Scenes whose masks are void in every pixel."""

    def __init__(self, root=None, split="train"):
        super().__init__(root, split, size=64, samples=6)

    def read(self, index):
        image, mask = super().read(index)
        return image, np.full_like(mask, self.classes.ignore_index)
