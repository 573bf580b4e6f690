"""Matching of the classes of checkpoints and model directories with a dataset's."""

import json

import numpy as np
import pytest
import torch
from helpers.networks import tiny
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

pytestmark = pytest.mark.usefixtures("in_repository")

ORDER = [3, 0, 10, 1, 2, 4, 5, 6, 7, 8, 9]


def classes(names: str, ignore_index: int = 255) -> Classes:
    return Classes(tuple(names), tuple((index, 0, 0) for index in range(len(names))), ignore_index)


class Reordered(Scenes):
    """Scenes with its classes in another order."""

    classes = Classes(*(tuple(values[index] for index in ORDER) for values in (Scenes.classes.names, Scenes.classes.palette)))

    def read(self, index):
        image, mask = super().read(index)
        table = np.full(256, 255, np.uint8)
        table[ORDER] = range(len(ORDER))
        return image, table[mask]


class Renamed(Scenes):
    classes = Classes(("heaven", *Scenes.classes.names[1:]), Scenes.classes.palette)


@pytest.mark.parametrize(
    ("own", "dataset", "how", "expected"),
    [
        (classes("ab"), classes("ab"), "exact", None),
        (classes("ab"), classes("ab"), "name", None),
        (classes("abc"), classes("cab"), "name", [2, 0, 1]),
        (classes("ab", ignore_index=9), classes("ab"), "name", None),
        (classes("ab"), classes("xy"), "position", None),
        (None, classes("ab"), "position", None),
        (classes("ab"), classes("ba"), "exact", r"\[a, b\].*\[b, a\].*--match_classes name"),
        (classes("ab", ignore_index=9), classes("ab"), "exact", "9.*255"),
        (classes("ab"), classes("ac"), "exact", "lacks 'c' .* has 'b'"),
        (classes("ab"), classes("ac"), "name", "lacks 'c'"),
        (classes("ab"), classes("abc"), "name", "lacks 'c'"),
        (classes("ab"), classes("abc"), "position", "2 classes, .* 3"),
        (None, classes("ab"), "exact", "--match_classes position"),
        (None, classes("ab"), "name", "does not name its classes"),
    ],
)
def test_match_classes(own, dataset, how, expected):
    if isinstance(expected, str):
        with pytest.raises(CheckpointError, match=f"^x.ckpt: .*{expected}"):
            match_classes(own, dataset, how, "x.ckpt")
    else:
        assert match_classes(own, dataset, how, "x.ckpt") == expected


@pytest.mark.parametrize("options", [[], ["--model.protocol=paper"]], ids=["standard", "void output"])
def test_checkpoint_is_matched_by_name_or_position(tmp_path, capsys, options):
    fit(tmp_path, *options)
    common = [f"--run.root={tmp_path}", "--data.test_split=val", *options]
    other = [*common, f"--data.dataset={__name__}.Reordered"]
    for command in "validate", "test":
        assert "last.ckpt: has the classes" in refusal(capsys, command, *other)

    def validate(*arguments: str) -> dict:
        main(["validate", *QUICK, *arguments])
        return record(tmp_path)["evaluations"]["val of last.ckpt"]

    expected, matched = validate(*common), validate(*other, "--match_classes=name")
    assert matched["iou"] == expected["iou"] and matched["loss"] == pytest.approx(expected["loss"])
    assert validate(*other, "--match_classes=position")["iou"] != expected["iou"]


def test_run_does_not_resume_with_other_classes(tmp_path, capsys):
    fit(tmp_path, f"--data.dataset={__name__}.Scenes")
    (results,) = tmp_path.rglob("results.json")
    results.unlink()
    config, checkpoint = results.with_name("config.yaml"), results.with_name("last.ckpt")
    text, before = config.read_text(), checkpoint.read_bytes()
    for dataset in f"{__name__}.Reordered", f"{__name__}.Renamed":
        config.write_text(text.replace(f"{__name__}.Scenes", dataset))
        assert "last.ckpt: has" in refusal(capsys, "fit", f"--run.root={tmp_path}", f"--data.dataset={dataset}")
    assert checkpoint.read_bytes() == before and not results.exists()


@pytest.fixture
def model(tmp_path):
    write_model_directory(tmp_path / "model", tiny(classes=11, pooling_blocks=1), Scenes.classes)
    return tmp_path / "model"


def test_model_directory_is_matched(model, tmp_path, capsys):
    options = [f"--ckpt_path={model}", f"--run.root={tmp_path / 'runs'}", f"--data.dataset={__name__}.Reordered"]
    assert f"{model}: has the classes" in refusal(capsys, "validate", *options)
    main(["test", *QUICK, *options, "--match_classes=name"])
    assert list(model.glob("test*.csv")) and not (tmp_path / "runs").exists(), "the scores are next to the model"
    (model / "classes.json").unlink()
    assert f"{model}: does not name its classes" in refusal(capsys, "validate", *options)
    main(["validate", *QUICK, *options, "--match_classes=position"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {name: tensor for name, tensor in state.items() if name[:7] != "decoder"}, "missing: decoder"),
        (lambda state: state | {"extra": torch.zeros(1)}, "unexpected: extra"),
        (lambda state: state | {"segmentation_head.1.bias": torch.zeros(5)}, "missing: segmentation_head.1.bias"),
        ({"pooling_blocks": 2}, "missing: decoder.*pool"),
        ({"pooling_blocks": 0}, "unexpected: decoder.*pool"),
        ({"width": 16}, "missing: decoder.* and .* more"),
        ({"classes": 12}, "missing: segmentation_head"),
        ({"encoder_name": "resnet34"}, "missing: encoder"),
    ],
)
@pytest.mark.parametrize("read", [RefineNet.from_pretrained, read_model_directory, load_for_prediction])
def test_tensors_that_do_not_fit_the_config_are_refused(model, change, message, read):
    weights, config = model / "model.safetensors", model / "config.json"
    if isinstance(change, dict):
        config.write_text(json.dumps(json.loads(config.read_text()) | change))
    else:
        save_file(change(load_file(weights)), weights)
    with pytest.raises(CheckpointError, match=f"{model}.*{message}") as refused:
        read(model)
    assert len(str(refused.value)) < 600


def test_weights_for_other_classes_initialize_a_network(model):
    old = RefineNet.from_pretrained(model).state_dict()
    new = RefineNet.from_pretrained(model, classes=5, strict=False).state_dict()
    other = {name for name in old if old[name].shape != new[name].shape}
    assert other == {"segmentation_head.1.weight", "segmentation_head.1.bias"}
    assert all(torch.equal(old[name], new[name]) for name in old if name not in other)


@pytest.mark.parametrize("content", [{"a": 1}, torch.ones(3), {"state_dict": {}}])
def test_other_files_are_not_evaluated(content, tmp_path, capsys):
    torch.save(content, tmp_path / "x.pth")
    assert f"{tmp_path / 'x.pth'}: was not written by" in refusal(capsys, "validate", f"--ckpt_path={tmp_path / 'x.pth'}")


def test_other_networks_are_not_evaluated(tmp_path, capsys):
    fit(tmp_path)
    message = refusal(capsys, "validate", f"--run.root={tmp_path}", "--model.network.init_args.width=16")
    assert "best.ckpt: " in message and "of another shape: network.decoder" in message and len(message) < 700
