"""Predictions from Python."""

import numpy as np
import pytest
import torch
from helpers.networks import tiny
from PIL import Image

import refinenet_pl
from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.datasets.scenes_values import ScenesDepth
from refinenet_pl.errors import CheckpointError, DataError

PIXELS = Scenes(split="val", size=64).read(0)[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model directories of classes and of depth, and an image file."""
    folder = tmp_path_factory.mktemp("models")
    write_model_directory(folder / "classes", tiny(classes=11), Scenes.classes)
    write_model_directory(folder / "depth", tiny(classes=1), ScenesDepth.values, "softplus")
    Image.fromarray(PIXELS).save(folder / "photo.png")
    return folder


def test_classes(models, tmp_path):
    predict = refinenet_pl.load(models / "classes", device="cpu")
    found = predict(models / "photo.png", scales=(0.5, 1.0), flip=True)
    assert found.names == predict.names == list(Scenes.classes.names) and found.values is None
    assert found.scores.shape == (11, 64, 64) and np.allclose(found.scores.sum(0), 1, atol=1e-5)
    assert np.array_equal(found.mask, found.scores.argmax(0)) and np.array_equal(found.image, PIXELS)
    assert found.overlay().size == (64, 64) and found.colored().size[0] == 64 < found.colored().size[1]
    options = ["--scales=[0.5,1.0]", "--flip=true", f"--ckpt_path={models / 'classes'}", f"--output={tmp_path}", "--device=cpu"]
    main(["predict", str(models / "photo.png"), *options])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "photo.png")), found.mask)


def test_values(models):
    predict = refinenet_pl.load(models / "depth", device="cpu")
    found = predict(Image.fromarray(PIXELS))
    assert found.mask is None and found.values.shape == (64, 64, 1) and (found.values > 0).all()
    task = predict.task
    with torch.inference_mode():
        expected = task(torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)[None])[0, 0].numpy()
    assert np.allclose(found.values[..., 0], expected, rtol=1e-5)
    assert np.array_equal(predict(PIXELS).values, found.values)
    assert found.overlay().size == (64, 64) and found.colored().size[1] > 64


def test_errors(models):
    with pytest.raises(CheckpointError, match="nowhere: no such file"):
        refinenet_pl.load("nowhere")
    predict = refinenet_pl.load(str(models / "depth"), device="cpu")
    with pytest.raises(DataError, match="nothing.png"):
        predict("nothing.png")
    with pytest.raises(DataError, match=r"float64 \(64, 64, 3\); give uint8"):
        predict(PIXELS / 255)
