"""`refinenet predict`: input images, names of predictions, and the command."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.files import files_below, touch, write_noise
from PIL import Image

from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli.inputs import Input, find_images, output_names, select
from refinenet_pl.cli.main import main
from refinenet_pl.cli.predictor import predict_each
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.errors import DataError
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.visualization.predictions import ENDINGS

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))


@pytest.fixture
def street(tmp_path, monkeypatch) -> Path:
    """street/{a.png, b.JPG, notes.txt, deep/c.pgm} in the working directory."""
    touch(tmp_path, "street/b.JPG", "street/a.png", "street/notes.txt", "street/deep/c.pgm")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREET", str(tmp_path / "street"))
    return Path("street")


def find(*arguments: str, output: str = "out") -> list[str]:
    return [image.path.as_posix() for image in find_images(arguments, Path(output))[0]]


@pytest.mark.parametrize("arguments", [["street"], ["street/"], ["street/*"], ["street/**"], ["street", "./street/a.png"]])
def test_finds_all_images_once(street, arguments):
    assert find(*arguments) == ["street/a.png", "street/b.JPG", "street/deep/c.pgm"]


def test_finds_files_and_patterns(street):
    touch(street, "x[1].png")
    (street / "deep/back").symlink_to("..")
    for argument in "street/a.png", "street/notes.txt", "street/*.txt", "street/x[1].png":
        assert find(argument) == [argument.replace("*", "notes")]
    assert find("street/**/*.p?m") == ["street/deep/c.pgm"]
    assert find("street/**/a.png") == ["street/a.png"], "a circle is entered once"
    assert find("street/deep/*.pgm", "street/a.png") == ["street/deep/c.pgm", "street/a.png"]
    for argument in "$STREET/a.png", "$STREET", "${STREET}/*.png":
        assert find(argument)[0] == f"{street.absolute()}/a.png"


@pytest.mark.parametrize("pattern", ["street/none.png", "street/*.gif", "nowhere", "street/empty"])
def test_no_image_found(street, pattern):
    (street / "empty").mkdir()
    with pytest.raises(DataError, match=f"^{re.escape(pattern)}: no image found"):
        find("street/a.png", pattern)


@pytest.mark.parametrize("given", ["street", "street/**", "street/*"])
def test_skips_earlier_predictions(street, given):
    touch(street, "out/a.png", "out/a_color.png")
    images, left_out = find_images([given], street / "out")
    assert [image.name for image in images] == ["a.png", "b.JPG", "deep/c.pgm"] and left_out.own_output == 2
    assert len(find("street/out", output="street/out")) == 2


OUTPUT_NAMES = {
    "s": "a b t_c", "s/*.png": "a b", "s/**/*.png": "a b t_c", "s/t": "c", "s again": "s_a b t_c again_a",
    "s/a.png other/a.jpg": "a.png a.jpg", "one/day two/day": "day_x day_x_2", "kinds": "k.jpg k.png",
}  # fmt: skip


@pytest.mark.parametrize("arguments", OUTPUT_NAMES)
def test_predictions_do_not_share_files(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "s/a.png", "s/b.png", "s/t/c.png", "again/a.png", "other/a.jpg", "one/day/x.png", "two/day/x.png")
    touch(tmp_path, "kinds/k.jpg", "kinds/k.png")
    assert output_names(find_images(arguments.split(), Path("out"))[0], ENDINGS) == OUTPUT_NAMES[arguments].split()


SELECTED = {
    "a": ["s/a.png", "s/t/a.jpg"], "a.png": ["s/a.png"], "t/a": ["s/t/a.jpg"], "s/t/a.jpg": ["s/t/a.jpg"],
    "my image \r\n\nframe_1": ["s/frame_1.png", "s/my image.png"], "\ufeff" + DECOMPOSED: [f"s/{COMPOSED}.png"],
}  # fmt: skip


@pytest.mark.parametrize("lines", SELECTED)
def test_selects_listed_images(tmp_path, lines):
    files = ["s/a.png", "s/frame_1.5.png", "s/frame_1.png", "s/my image.png", "s/t/a.jpg", f"s/{COMPOSED}.png"]
    (tmp_path / "only.txt").write_text(lines, encoding="utf-8")
    images = select([Input(Path(file), Path("s")) for file in files], tmp_path / "only.txt")
    assert [image.path.as_posix() for image in images] == SELECTED[lines]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [("a\nb\nc", r"lists b, .*\(and 1 more\)"), ("old/a.jpg b", "lists old/a.jpg b, .* write 'a'"), (" \n", "lists no images")],
)
def test_list_without_matching_images(tmp_path, lines, problem):
    (tmp_path / "only.txt").write_text(lines)
    with pytest.raises(DataError, match=f"{tmp_path / 'only.txt'}: {problem}"):
        select([Input(Path("s/a.png"), Path("s"))], tmp_path / "only.txt")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("own") / "model"
    network = RefineNet("resnet18", None, classes=3, width=4, deepest_width=4, decoder_init="scaled").eval()
    write_model_directory(directory, network, Classes(("a", "b", "c"), ((0, 0, 0), (99, 0, 0), (0, 99, 0))))
    return directory


def predict(*arguments) -> None:
    main(["predict", *map(str, arguments), "--device=cpu"])


def refusal(*arguments) -> str:
    with pytest.raises(SystemExit) as ended:
        predict(*arguments)
    return ended.value.code


def test_predicts_a_folder_and_reports_other_files(tmp_path, model, capsys):
    write_noise(tmp_path, "in/x.png", "in/sub/x.pgm", "in/x_color.png")
    touch(tmp_path, "in/._x.png", "in/notes.txt", "in/.cache/y.png")
    predict(tmp_path / "in", "--ckpt_path", model, "--output", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "1 hidden file, 1 hidden folder, 1 file of another type (.txt)" in printed
    assert "x_color.png as x_color_2\n" in printed and "3 images segmented into" in printed
    names = sorted(f"{name}{ending}.png" for name in ("x", "sub_x", "x_color_2") for ending in ENDINGS)
    assert files_below(tmp_path / "out") == names


def test_overwrites_only_on_request(tmp_path, model):
    write_noise(tmp_path, "in/x.png", "in/y.png")
    arguments = tmp_path / "in", "--ckpt_path", model, "--output", tmp_path / "out"
    predict(*arguments)
    (tmp_path / "out/x.png").write_bytes(b"mine")
    message = refusal(tmp_path / "in", "--ckpt_path", "none", "--output", tmp_path / "out")
    assert f"{tmp_path / 'out/x.png'} (and 5 more files): would be overwritten" in message
    predict(*arguments, "--overwrite")
    assert Image.open(tmp_path / "out/x.png").size == (50, 40)


@pytest.mark.parametrize("name", ["x.png", "y_color.png"])
def test_never_overwrites_input_images(tmp_path, name):
    write_noise(tmp_path, "in/x.png", "in/y.jpg", "in/y_color.png", "in/z.png")
    (tmp_path / "link").symlink_to("in")
    inputs = tmp_path / "in" / name, tmp_path / "in/y.jpg"
    message = refusal(*inputs, "--ckpt_path=none", "--output", tmp_path / "link", "--overwrite")
    assert f"in/{name}: a prediction would overwrite this image" in message


def test_reports_unreadable_images_at_the_end(tmp_path, model, capsys):
    write_noise(tmp_path, "in/a.png", "in/c.png")
    (tmp_path / "in/b.png").write_bytes(b"not an image")
    message = refusal(tmp_path / "in", "--ckpt_path", model, "--output", tmp_path / "out")
    assert message.startswith("error: 1 of 3 images") and f"{tmp_path / 'in/b.png'}: " in message
    assert len(files_below(tmp_path / "out")) == 6 and "2 images segmented into" in capsys.readouterr().out


def test_refuses_outputs_that_cannot_be_written(tmp_path):
    write_noise(tmp_path, "in/a.png", f"long/{'b' * 240}.png")
    touch(tmp_path, "out")
    assert f"{tmp_path / 'out'}: is a file" in refusal(tmp_path / "in", "--ckpt_path=none", "--output", tmp_path / "out/deep")
    assert "would be too long" in refusal(tmp_path / "long", "--ckpt_path=none", "--output", tmp_path / "new")


def test_expands_the_paths_of_all_options(tmp_path, model, monkeypatch):
    write_noise(tmp_path, "in/a.png", "in/b.png")
    (tmp_path / "only.txt").write_text("b")
    for name, value in {"HERE": tmp_path, "MODEL": model, "HOME": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    predict("$HERE/in", "--ckpt_path=$MODEL", "--output=~/out", "--only=~/only.txt")
    assert files_below(tmp_path / "out") == ["b.png", "b_color.png", "b_overlay.png"]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:1", "tpu", ""])
def test_unknown_device(device, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(tmp_path), "--ckpt_path=none", f"--device={device}"])
    assert ended.value.code.startswith(f"error: --device {device}: ") and "choose from" in ended.value.code


class Greedy(torch.nn.Module):
    def forward(self, x):
        if x.shape[-1] > 40:
            torch.empty(1 << 60)
        return torch.cat([x, -x], 1)


def test_image_that_does_not_fit_into_memory(tmp_path):
    write_noise(tmp_path, "large.png")
    write_noise(tmp_path, "small.png", size=(20, 30))
    task, failures = SegmentationTask(Greedy(), 6).eval(), []
    inputs = [Input(tmp_path / name, tmp_path) for name in ("large.png", "small.png")]
    predicted = list(predict_each(task, task.training_inference, inputs, failures))
    assert [index for index, _, _ in predicted] == [1] and predicted[0][2].shape == (20, 30)
    (message,) = failures
    assert message.startswith(f"{tmp_path / 'large.png'}: ") and "50x40" in message and "--tile" in message


def test_scales_flips_and_tiles(tmp_path, model):
    write_noise(tmp_path, "a.png", size=(97, 130))
    masks = []
    for option in "--flip=false", "--scales=[0.5,1.0,1.5]", "--flip=true", "--tile=[40,40]":
        predict(tmp_path / "a.png", "--ckpt_path", model, "--output", tmp_path / "out", "--overwrite", option)
        masks.append(np.array(Image.open(tmp_path / "out/a.png")))
    assert masks[0].shape == (97, 130) and all((masks[0] != other).any() for other in masks[1:])
    assert "scales" in refusal(tmp_path / "a.png", "--ckpt_path", model, "--output", tmp_path / "x", "--scales=[0]")
