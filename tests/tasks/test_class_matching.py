"""Checkpoints and model directories are used with the classes that they were trained on, or matched by name if asked for."""

import json

import numpy as np
import pytest
import torch
from helpers.repository import REPOSITORY
from helpers.running import QUICK, fit, record, refusal
from safetensors.torch import load_file, save_file

from refinenet_pl import RefineNet
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.checkpoints.model_directory import read_model_directory, write_model_directory
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import CheckpointError
from refinenet_pl.tasks.class_matching import match_classes

ORDER = [3, 0, 10, 1, 2, 4, 5, 6, 7, 8, 9]


def classes(*names: str, ignore_index: int = 255) -> Classes:
    return Classes(names, tuple((index, 0, 0) for index in range(len(names))), ignore_index)


class Reordered(Scenes):
    """Scenes with its classes in another order; images and what each pixel means are the same."""

    classes = Classes(
        tuple(Scenes.classes.names[index] for index in ORDER), tuple(Scenes.classes.palette[index] for index in ORDER)
    )

    def read(self, index):
        image, mask = super().read(index)
        table = np.full(256, 255, np.uint8)
        table[ORDER] = range(len(ORDER))
        return image, table[mask]


class Renamed(Scenes):
    classes = Classes(("heaven", *Scenes.classes.names[1:]), Scenes.classes.palette)


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.parametrize(
    ("own", "dataset", "how", "channels"),
    [
        (classes("a", "b"), classes("a", "b"), "exact", None),
        (classes("a", "b"), classes("a", "b"), "name", None),
        (classes("a", "b", "c"), classes("c", "a", "b"), "name", [2, 0, 1]),
        (classes("a", "b", ignore_index=9), classes("a", "b"), "name", None),
        (classes("a", "b"), classes("x", "y"), "position", None),
        (None, classes("a", "b"), "position", None),
    ],
)
def test_channels_of_the_datasets_classes(own, dataset, how, channels):
    assert match_classes(own, dataset, how, "x.ckpt") == channels


@pytest.mark.parametrize(
    ("own", "dataset", "how", "message"),
    [
        (classes("a", "b"), classes("b", "a"), "exact", r"knows the classes \[a, b\].*as \[b, a\]; .*--match_classes name"),
        (classes("a", "b", ignore_index=9), classes("a", "b"), "exact", "ignores the label 9, but the dataset ignores 255"),
        (classes("a", "b"), classes("a", "c"), "exact", "lacks 'c' of the dataset and has 'b', which the dataset has not"),
        (classes("a", "b"), classes("a", "c"), "name", "lacks 'c' of the dataset"),
        (classes("a", "b"), classes("a", "b", "c"), "name", "knows 2 classes and the dataset has 3: it lacks 'c'"),
        (classes("a", "b"), classes("a", "b", "c"), "position", "knows 2 classes, but the dataset has 3"),
        (None, classes("a", "b"), "exact", "does not name its classes.*--match_classes position"),
        (None, classes("a", "b"), "name", "does not name its classes"),
    ],
)
def test_other_classes_are_refused(own, dataset, how, message):
    with pytest.raises(CheckpointError, match=f"^x.ckpt: .*{message}"):
        match_classes(own, dataset, how, "x.ckpt")


def scores(root, name: str) -> dict:
    return record(root)["evaluations"][name]


@pytest.mark.parametrize("options", [[], ["--model.protocol=paper"]], ids=["standard", "void output"])
def test_validate_and_test_match_a_runs_classes_by_name(tmp_path, capsys, options):
    fit(tmp_path, *options)
    common = [f"--run.root={tmp_path}", "--data.test_split=val", *options]
    other = [*common, "--data.dataset=test_class_matching.Reordered"]
    for command in "validate", "test":
        said = refusal(capsys, command, *other)
        assert "last.ckpt: knows the classes [sky, meadow" in said and "as [road, sky" in said and "Traceback" not in said
    main(["validate", *QUICK, *common])
    plain = scores(tmp_path, "val of last.ckpt")
    main(["validate", *QUICK, *other, "--match_classes=name"])
    matched = scores(tmp_path, "val of last.ckpt")
    assert matched["iou"] == plain["iou"] and matched["loss"] == pytest.approx(plain["loss"])
    main(["validate", *QUICK, *other, "--match_classes=position"])
    assert scores(tmp_path, "val of last.ckpt")["iou"] != plain["iou"]
    assert "has 'sky', which the dataset has not" in refusal(
        capsys, "validate", *common, "--data.dataset=test_class_matching.Renamed", "--match_classes=name"
    )


def test_a_run_does_not_resume_with_other_classes(tmp_path, capsys):
    fit(tmp_path, "--data.dataset=test_class_matching.Scenes")
    (results,) = tmp_path.rglob("results.json")
    results.unlink()
    file = results.parent / "config.yaml"
    before = (results.parent / "last.ckpt").read_bytes()
    for dataset in "Reordered", "Renamed":
        file.write_text(file.read_text().replace("test_class_matching.Scenes", f"test_class_matching.{dataset}"))
        said = refusal(capsys, "fit", f"--run.root={tmp_path}", f"--data.dataset=test_class_matching.{dataset}")
        assert "last.ckpt: knows" in said and "Traceback" not in said
        file.write_text(file.read_text().replace(f"test_class_matching.{dataset}", "test_class_matching.Scenes"))
    assert (results.parent / "last.ckpt").read_bytes() == before and not results.exists()


@pytest.fixture
def model(tmp_path):
    network = RefineNet("resnet18", None, classes=11, width=8, deepest_width=8, pooling_blocks=1)
    write_model_directory(tmp_path / "model", network, Scenes.classes)
    return tmp_path / "model"


def test_a_model_directory_is_matched_as_a_checkpoint_is(model, tmp_path, capsys):
    options = [f"--ckpt_path={model}", f"--run.root={tmp_path}", "--data.dataset=test_class_matching.Reordered"]
    assert f"{model}: knows the classes [sky, meadow" in refusal(capsys, "validate", *options)
    main(["validate", *QUICK, *options, "--match_classes=name"])
    (model / "classes.json").unlink()
    assert f"{model}: does not name its classes" in refusal(capsys, "validate", *options)
    main(["validate", *QUICK, *options, "--match_classes=position"])


def without_the_decoder(model):
    state = load_file(model / "model.safetensors")
    save_file({name: tensor for name, tensor in state.items() if not name.startswith("decoder")}, model / "model.safetensors")


def with_another_tensor(model):
    save_file(load_file(model / "model.safetensors") | {"extra": torch.zeros(1)}, model / "model.safetensors")


def with_a_smaller_tensor(model):
    state = load_file(model / "model.safetensors")
    state["segmentation_head.1.bias"] = state["segmentation_head.1.bias"][:5].clone()
    save_file(state, model / "model.safetensors")


def configured(**arguments):
    def change(model):
        file = model / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | arguments))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_the_decoder, "missing: decoder"),
        (with_another_tensor, "not known: extra"),
        (with_a_smaller_tensor, "missing: segmentation_head.1.bias"),
        (configured(pooling_blocks=2), "missing: decoder.*pool"),
        (configured(pooling_blocks=0), "not known: decoder.*pool"),
        (configured(width=16), "missing: decoder.* and .* more"),
        (configured(classes=12), "missing: segmentation_head"),
        (configured(encoder_name="resnet34"), "missing: encoder"),
    ],
)
@pytest.mark.parametrize("read", [RefineNet.from_pretrained, read_model_directory, load_for_prediction])
def test_a_directory_whose_tensors_are_not_those_of_its_network(model, change, message, read):
    change(model)
    with pytest.raises(
        CheckpointError, match=f"its tensors are not those of the network in its config.json: .*{message}"
    ) as refused:
        read(model)
    assert str(model) in str(refused.value) and len(str(refused.value)) < 600


def test_weights_for_other_classes_are_a_start_if_asked_for(model):
    network = RefineNet.from_pretrained(model, classes=5, strict=False)
    old, new = RefineNet.from_pretrained(model).state_dict(), network.state_dict()
    assert [name for name in old if not torch.equal(old[name], new[name]) if old[name].shape == new[name].shape] == []
    assert {name for name in old if old[name].shape != new[name].shape} == {
        "segmentation_head.1.weight",
        "segmentation_head.1.bias",
    }


@pytest.mark.parametrize("content", [{"a": 1}, torch.ones(3), {"state_dict": {}}], ids=["a dict", "a tensor", "weights alone"])
def test_a_file_that_fit_did_not_write_is_not_evaluated(tmp_path, capsys, content):
    torch.save(content, tmp_path / "x.pth")
    said = refusal(capsys, "validate", f"--ckpt_path={tmp_path / 'x.pth'}")
    assert f"{tmp_path / 'x.pth'}: this package's fit did not write it; import a published checkpoint" in said


def test_a_checkpoint_of_another_width_is_refused_in_one_sentence(tmp_path, capsys):
    fit(tmp_path)
    said = refusal(capsys, "validate", f"--run.root={tmp_path}", "--model.network.init_args.width=16")
    assert "best.ckpt holds another network than the configuration describes: of another shape: network.decoder" in said
    assert said.count("\n") <= 2 and len(said) < 700
