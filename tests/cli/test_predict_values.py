"""`refinenet predict` with networks that predict depth, normals or other values."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.files import files_below, write_noise
from helpers.networks import tiny
from lightning import Trainer
from PIL import Image

from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli.inputs import Input
from refinenet_pl.cli.main import main
from refinenet_pl.cli.predictor import predict_each
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values
from refinenet_pl.evaluation.value_inference import ValueInference
from refinenet_pl.tasks.regression import RegressionTask

DEPTH = Values(("depth",), "depth", "m", (0.1, 10))
NORMALS = Values(("x", "y", "z"), "normals")
LABELS = Values(("road", "wet"), "labels", range=(0, 1))


def build(values: Values, activation: str) -> RegressionTask:
    torch.manual_seed(0)
    return RegressionTask(tiny(classes=len(values)), values, activation=activation).eval()


def save(task: RegressionTask, file: Path) -> Path:
    """Save a task like fit does."""
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(task)
    trainer.save_checkpoint(file)
    return file


@pytest.fixture(scope="module")
def depth(tmp_path_factory) -> Path:
    return save(build(DEPTH, "softplus"), tmp_path_factory.mktemp("depth") / "last.ckpt")


@pytest.fixture(scope="module")
def normals(tmp_path_factory) -> Path:
    return save(build(NORMALS, "unit"), tmp_path_factory.mktemp("normals") / "last.ckpt")


@pytest.fixture
def predict(tmp_path):
    """Run `predict` on the image a.png; it is 97 pixels high and 130 wide."""
    write_noise(tmp_path, "a.png", size=(97, 130))

    def run(ckpt_path: Path, *options: str) -> None:
        paths = [str(tmp_path / "a.png"), f"--ckpt_path={ckpt_path}", f"--output={tmp_path / 'out'}"]
        main(["predict", *paths, "--device=cpu", *options])

    return run


@torch.inference_mode()
def expected(task: RegressionTask, file: Path, view: ValueInference | None = None) -> np.ndarray:
    image = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None]
    return task.predict_values(image, view)[0].permute(1, 2, 0).numpy()


def test_depth_is_written_in_millimeters(tmp_path, predict, depth, capsys):
    predict(depth)
    assert f"1 images predicted into {tmp_path / 'out'}: depth in m; 16-bit PNG, divisor 1000\n" in capsys.readouterr().out
    assert files_below(tmp_path / "out") == ["a.png", "a_color.png"]
    stored = np.array(Image.open(tmp_path / "out/a.png"))
    wanted = expected(build(DEPTH, "softplus"), tmp_path / "a.png")[..., 0]
    assert stored.dtype == np.uint16 and np.abs(stored / 1000 - wanted).max() <= 0.0005 + 1e-4 * wanted.max()
    assert len(np.unique(stored)) > 100
    with pytest.raises(SystemExit, match=r"out/a\.png \(and 1 more files\): would be overwritten"):
        predict(depth)
    predict(depth, "--overwrite", "--format=npy")
    assert np.allclose(np.load(tmp_path / "out/a.npy"), wanted, atol=1e-4 * wanted.max())


def test_normals_are_written_as_numbers(tmp_path, predict, normals, capsys):
    predict(normals)
    assert "x, y, z; float32, NumPy files" in capsys.readouterr().out
    assert files_below(tmp_path / "out") == ["a.npy", "a_color.png"]
    stored = np.load(tmp_path / "out/a.npy")
    assert stored.dtype == np.float32 and stored.shape == (97, 130, 3)
    assert np.allclose(stored, expected(build(NORMALS, "unit"), tmp_path / "a.png"), atol=1e-3)
    assert np.allclose(np.linalg.norm(stored, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "options, view",
    [
        (["--scales=[0.5,1.0]"], ValueInference(scales=(0.5, 1.0))),
        (["--flip=true"], ValueInference(flip=True)),
        (["--tile=[40,80]", "--tile_overlap=0.5"], ValueInference(tile=(40, 80), tile_overlap=0.5)),
    ],
)
def test_scales_flips_and_tiles(tmp_path, predict, normals, options, view):
    predict(normals, *options)
    found, task = np.load(tmp_path / "out/a.npy"), build(NORMALS, "unit")
    assert np.allclose(found, expected(task, tmp_path / "a.png", view), atol=1e-3)
    assert not np.allclose(found, expected(task, tmp_path / "a.png"), atol=1e-2)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--submission=voc"], "--submission voc: is for classes"),
        (["--protocol=paper"], "--protocol paper: is for classes"),
        (["--format=png"], "--format png: .* 3 .*--format npy"),
        (["--scales=[0]"], "scales"),
        (["--tile_overlap=1"], "tile_overlap"),
    ],
)
def test_options_that_are_not_for_these_values(tmp_path, predict, normals, options, message):
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        predict(normals, *options)
    assert not (tmp_path / "out").exists()


def test_format_is_not_for_classes(tmp_path, predict):
    write_model_directory(tmp_path / "model", tiny(classes=3), Classes.numbered(3))
    with pytest.raises(SystemExit, match=r"--format npy: is for values, but .*/model predicts classes"):
        predict(tmp_path / "model", "--format=npy")
    with pytest.raises(SystemExit, match="none: no such file"):
        predict(tmp_path / "none", "--format=npy")


def test_values_that_do_not_fit_are_reported_at_the_end(tmp_path, predict, capsys):
    task = build(DEPTH, "none")  # predicts negative depths
    with pytest.raises(SystemExit, match=r"(?s)1 of 1 images could not.*a\.png: \d+ predicted values, such as -.*--format npy"):
        predict(save(task, tmp_path / "last.ckpt"))
    assert not (tmp_path / "out").exists() and "0 images predicted" in capsys.readouterr().out


def test_model_directory(tmp_path, predict, depth):
    write_model_directory(tmp_path / "model", build(DEPTH, "softplus").network, DEPTH, "softplus")
    predict(tmp_path / "model")
    found = np.array(Image.open(tmp_path / "out/a.png"))
    predict(depth, "--overwrite")
    assert np.array_equal(found, np.array(Image.open(tmp_path / "out/a.png")))


class Greedy(torch.nn.Module):
    def forward(self, x):
        if x.shape[-1] > 40:
            torch.empty(1 << 60)
        return x[:, :1]


def test_image_that_does_not_fit_into_memory(tmp_path):
    write_noise(tmp_path, "large.png")
    write_noise(tmp_path, "small.png", size=(20, 30))
    task, failures = RegressionTask(Greedy(), DEPTH).eval(), []
    inputs = [Input(tmp_path / name, tmp_path) for name in ("large.png", "small.png")]
    ((index, _, target),) = predict_each(task, task.training_inference, inputs, failures)
    assert index == 1 and target.shape == (20, 30, 1) and target.dtype == np.float32
    (message,) = failures
    assert message.startswith(f"{tmp_path / 'large.png'}: ") and "50x40" in message and "--tile" in message


def test_labels(tmp_path, predict, capsys, depth):
    torch.manual_seed(0)
    options = {"threshold": 0.45}
    task = RegressionTask(tiny(classes=2), LABELS, "bce", "sigmoid", options, test_flip=True).eval()
    checkpoint = save(task, tmp_path / "last.ckpt")
    probability = expected(task, tmp_path / "a.png", ValueInference(flip=True))
    predict(checkpoint)
    assert "road, wet; masks, 255 above a probability of 0.45" in capsys.readouterr().out
    assert files_below(tmp_path / "out") == ["a_overlay.png", "road/a.png", "wet/a.png"]
    mask = np.array(Image.open(tmp_path / "out/wet/a.png"))
    assert np.isin(mask, (0, 255)).all() and np.mean((mask == 255) == (probability[..., 1] > 0.45)) > 0.999
    predict(checkpoint, "--format=npy", "--overwrite", "--threshold=0.9")
    assert np.allclose(np.load(tmp_path / "out/a.npy"), probability, atol=1e-5)
    with pytest.raises(SystemExit, match="^error: --threshold 1.0: must be above 0"):
        predict(checkpoint, "--threshold=1")
    with pytest.raises(SystemExit, match="^error: --threshold 0.5: is for labels, but .* predicts depth"):
        predict(depth, "--threshold=0.5")
