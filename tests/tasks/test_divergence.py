"""Diverged training ends with an error that names the step, and leaves neither scores nor weights that are not finite."""

import json
import math

import numpy as np
import pytest
import torch
from helpers.memory import CLASSES, Memory, samples, trainer
from helpers.networks import tiny
from helpers.running import QUICK, fit, record, refusal, run
from helpers.tables import record as write_record
from torch import nn
from torch.utils.data import DataLoader

from refinenet_pl import RefineNet
from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.rendering import render
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.checkpoints.model_directory import read_model_directory, write_model_directory
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import CheckpointError
from refinenet_pl.exit_codes import DIVERGED
from refinenet_pl.files import write_json
from refinenet_pl.state_dicts import digest
from refinenet_pl.tasks.divergence import DivergenceError, DivergenceWatch
from refinenet_pl.tasks.segmentation import SegmentationTask

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_repository")]

DIVERGING = [
    "--model.optimizer=sgd", "--model.learning_rate=1e6", "--model.encoder_learning_rate_factor=1",
    "--trainer.gradient_clip_val=null", "--trainer.max_epochs=4",
]  # fmt: skip


def test_diverged_run(tmp_path, capsys):
    command = ["fit", f"--run.root={tmp_path}", *DIVERGING]
    message, diverged = refusal(capsys, *command), record(tmp_path)["diverged"]
    assert f"since step {diverged['step']};" in message and "model.learning_rate (now 1e+06)" in message
    assert diverged["step"] >= 1 and "not finite" in diverged["reason"]
    assert record(tmp_path)["evaluations"] == {} and record(tmp_path)["best"] is None
    for checkpoint in tmp_path.rglob("*.ckpt"):
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(tensor.isfinite().all() for tensor in state.values())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    message = refusal(capsys, *command)
    assert message.startswith(f"{DIVERGED} ") and "--run.cell" in message
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_two_processes_end_together(tmp_path):
    output = run("fit", *QUICK, *DIVERGING, "--trainer.devices=2", f"--run.root={tmp_path}", code=DIVERGED)
    assert record(tmp_path)["diverged"]["reason"] in output and output.count("since step") == 2


def test_table_shows_diverged_cell(table_file, tmp_path):
    table = read_table(table_file)
    write_record(table, "paper", 0, tmp_path, 0.5)
    write_record(table, "shallow", 0, tmp_path, None, diverged={"step": 3, "reason": "the loss is not finite"}, evaluations={})
    report = build_report(table, "scenes", str(tmp_path), [0])
    assert "shallow-seed0 diverged: the loss is not finite" in render(report)
    assert report.rows[1].score.mean is None and report.rows[0].score.mean == 50


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_model_directory_with_nonfinite_weights_is_refused(tmp_path, value):
    network, directory = tiny(), tmp_path / "model"
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = value
    write_model_directory(directory, network, CLASSES)
    for read in read_model_directory, load_for_prediction, RefineNet.from_pretrained:
        with pytest.raises(CheckpointError, match=f"{directory}.*1 of .* NaN"):
            read(directory)


def test_checkpoint_with_nonfinite_weights_is_refused(tmp_path, capsys):
    fit(tmp_path)
    (file,) = tmp_path.rglob("last.ckpt")
    checkpoint = torch.load(file, weights_only=True)
    next(iter(checkpoint["state_dict"].values()))[0, 0, 0, 0] = float("nan")
    torch.save(checkpoint, file)
    file.with_name("results.json").unlink()
    for arguments in ["validate", f"--ckpt_path={file}"], ["fit"]:
        message = refusal(capsys, *arguments, f"--run.root={tmp_path}")
        assert str(file) in message and "hold NaN or infinity" in message


class Constant(nn.Module):
    """Logits of a single value, which is not finite in one of the calls."""

    def __init__(self, step: int, value: float):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.factors = iter([1.0] * (step - 1) + [value] + [1.0] * 30)

    def forward(self, x):
        return x * 0 + self.parameter * next(self.factors)


def test_nan_scores_are_not_predicted():
    with pytest.raises(FloatingPointError, match="class scores are NaN"):
        SegmentationTask(Constant(1, math.nan), 3).eval().predict_mask(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("step", "value"), [(1, math.nan), (4, math.nan), (7, math.inf)])
def test_first_nonfinite_step_is_named(step, value):
    data = Memory()
    data.train_dataloader = lambda: DataLoader(samples(*[(4, 4)] * 30))
    with pytest.raises(DivergenceError, match=f"since step {step};") as ended:
        trainer(max_epochs=1).fit(SegmentationTask(Constant(step, value), 3), datamodule=data)
    assert ended.value.step == step


def test_watch_keeps_the_first_step():
    watch = DivergenceWatch()
    assert watch.read() is None and not watch.is_due(10)
    finite, nan = torch.tensor(1.0), torch.tensor(float("nan"))
    watch.note(1, [finite, finite])
    watch.note(2, [finite])  # without a norm, as with a gradient scaler
    assert watch.read() is None
    watch.note(3, [finite, nan])
    watch.note(4, [nan, nan])
    assert watch.read() == (3, "the gradient norm is")


def test_digest_depends_on_names_and_values():
    state = {"a": torch.ones(2, 3), "b": torch.zeros(1, dtype=torch.bfloat16)}
    assert digest(state) == digest({name: tensor.clone() for name, tensor in state.items()})
    image = torch.rand(2, 3, 4, 5)
    assert digest({"a": image.contiguous(memory_format=torch.channels_last)}) == digest({"a": image})
    others = {"c": state["a"], "b": state["b"]}, state | {"a": torch.ones(2, 3) + 1e-6}
    assert len({digest(state), *map(digest, others)}) == 3


def test_json_has_null_for_nonfinite_numbers(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [1.5, float("-inf")], "c": {"d": (float("inf"), 2)}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1.5, None], "c": {"d": [None, 2]}}


def test_void_split_has_no_score(tmp_path, monkeypatch):
    read = Scenes.read
    monkeypatch.setattr(Scenes, "read", lambda self, index: (read(self, index)[0], np.full((64, 64), 255, np.uint8)))
    kept = fit(tmp_path, "--model.loss_at=image")
    assert kept["evaluations"]["val"]["miou"] is None and kept["evaluations"]["val"]["loss"] is None
    assert [point["miou"] for point in kept["curve"]] == [None]
