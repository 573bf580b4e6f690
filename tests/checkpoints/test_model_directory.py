"""Model directories of networks that predict values."""

import json

import pytest
import torch
from helpers.networks import images, tiny

from refinenet_pl.checkpoints.loading import load_for_prediction, peek_meaning, with_model_directory
from refinenet_pl.checkpoints.model_directory import read_model_directory, write_model_directory
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask

DEPTH = Values(("depth",), "depth", "m", (0.1, 10))


@pytest.fixture
def directory(tmp_path):
    write_model_directory(tmp_path / "model", tiny(classes=1).eval(), DEPTH, "exp")
    return tmp_path / "model"


def change(directory, **keys) -> None:
    file = directory / "values.json"
    content = json.loads(file.read_text()) | keys
    file.write_text(json.dumps({name: value for name, value in content.items() if value != "absent"}))


def test_directory_names_values_and_activation(directory):
    network, meaning, activation = read_model_directory(directory)
    assert (meaning, activation) == (DEPTH, "exp") and peek_meaning(directory) == DEPTH
    assert sorted(file.name for file in directory.iterdir()) == ["config.json", "model.safetensors", "values.json"]
    task, loaded = load_for_prediction(directory)
    assert isinstance(task, RegressionTask) and loaded == task.values == DEPTH and not task.training
    image = images(1, 40, 50)
    with torch.inference_mode():
        assert torch.equal(task(image), network.eval()((image - task.mean) / task.std).exp())


def test_directory_without_names_has_numbered_classes(directory):
    (directory / "values.json").unlink()
    assert read_model_directory(directory).meaning == Classes.numbered(1) and peek_meaning(directory) is None


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"names": ["a", "b"], "kind": "other"}, "names 2 values, but the network has 1"),
        ({"activation": "relu"}, "values.json: .*'relu'.*softplus"),
        ({"activation": "absent"}, "values.json: .*no key 'activation'"),
        ({"kind": "distance"}, "values.json: .*distance"),
        ({"range": [1]}, "values.json: cannot be read"),
        ({"names": None}, "values.json: cannot be read"),
    ],
)
def test_invalid_values_are_refused(directory, keys, message):
    change(directory, **keys)
    for read in read_model_directory, load_for_prediction:
        with pytest.raises(CheckpointError, match=f"^{directory}.*{message}"):
            read(directory)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_damaged_files_are_refused(directory, text):
    (directory / "values.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"values\.json: cannot be read"):
        read_model_directory(directory)
    (directory / "classes.json").touch()
    with pytest.raises(CheckpointError, match=r"classes\.json and values\.json"):
        read_model_directory(directory)


@pytest.mark.parametrize("meaning, activation", [(DEPTH, None), (DEPTH, "relu"), (Classes.numbered(1), "none")])
def test_values_need_an_activation_and_classes_have_none(tmp_path, meaning, activation):
    with pytest.raises(ValueError, match=f"activation is {activation!r}"):
        write_model_directory(tmp_path / "model", tiny(classes=1), meaning, activation)
    assert not (tmp_path / "model").exists()


def test_evaluation_uses_the_network_and_activation_of_the_directory(directory):
    task = RegressionTask(tiny(classes=1), DEPTH, "silog", "softplus", test_flip=True)
    evaluated = with_model_directory(task, directory, DEPTH)
    assert evaluated.hparams["activation"] == "exp" and evaluated.hparams["loss"] == "silog" and evaluated.test_inference.flip
    image = images(1, 40, 50)
    with torch.inference_mode():
        assert torch.equal(evaluated(image), load_for_prediction(directory)[0](image))


def test_evaluation_needs_equal_values(directory, tmp_path):
    write_model_directory(tmp_path / "classes", tiny(classes=1), Classes.numbered(1))
    kilometers = Values(("depth",), "depth", "km")
    regression, segmentation = RegressionTask(tiny(classes=1), kilometers), SegmentationTask(tiny(classes=1), 1)
    for task, path, dataset, message in [
        (regression, directory, kilometers, "unit 'm', .*'km'"),
        (regression, tmp_path / "classes", kilometers, r"has no values\.json"),
        (segmentation, directory, Classes.numbered(1), "predicts values"),
    ]:
        with pytest.raises(CheckpointError, match=f"^{path}: .*{message}"):
            with_model_directory(task, path, dataset)
