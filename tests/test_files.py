"""User-given paths, unique file names, and protection of existing files."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from helpers.files import files_below, touch
from PIL import Image

from refinenet_pl.callbacks.sample_files import write_samples
from refinenet_pl.cli.export import default_output
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.errors import DataError
from refinenet_pl.files import distinct, expand_path, refuse_existing
from refinenet_pl.visualization.predictions import ENDINGS
from refinenet_pl.visualization.sample import MaskSample

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))
EXPANDED = {
    "~": "/home/some", "~/x": "/home/some/x", "$HERE/a": "/home/some/here/a", "${HERE}s/a": "/home/some/heres/a",
    "$TILDE/a": "/home/some/a", "a/~/b": "a/~/b", "cost$5": "cost$5", "a$": "a$", "./a/": "a",
}  # fmt: skip


@pytest.mark.parametrize("given", EXPANDED)
def test_expands_variables_and_home(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": "/home/some", "HERE": "/home/some/here", "TILDE": "~"}.items():
        monkeypatch.setenv(name, value)
    assert expand_path(given) == expand_path(Path(given)) == Path(EXPANDED[given])


@pytest.mark.parametrize("given", ["$NOT_SET/a", "a/${NOT_SET}", "~/$NOT_SET"])
def test_names_a_variable_that_is_not_set(given):
    for error in ValueError, DataError:
        with pytest.raises(error, match="environment variable NOT_SET is not set"):
            expand_path(given, error)


@pytest.mark.parametrize("name", ["$x.png", "~", "$x/a.png", "${y}"])
def test_existing_paths_are_not_expanded(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, name)
    assert expand_path(name) == Path(name)
    (tmp_path / "$z").mkdir()
    assert expand_path(tmp_path / "$z" / "new") == tmp_path / "$z" / "new"


@pytest.mark.parametrize(
    ("names", "endings", "numbered"),
    [
        (["a", "b"], [""], ["a", "b"]),
        (["a", "a", "a"], [""], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2"], [""], ["a", "a_2", "a_2_2"]),
        (["A", "a"], [""], ["A", "a_2"]),
        ([COMPOSED, DECOMPOSED], [""], [COMPOSED, DECOMPOSED + "_2"]),
        (["a", "a_color", "a_color_overlay"], ENDINGS, ["a", "a_color_2", "a_color_overlay"]),
        (["a_overlay", "a"], ENDINGS, ["a_overlay", "a_2"]),
    ],
)
def test_numbers_names_that_share_a_file(names, endings, numbered):
    assert distinct(names, endings) == numbered


@pytest.mark.parametrize("names", [["a b", "a-b", "A b"], ["x/y", "x y"], [COMPOSED, DECOMPOSED]])
def test_samples_of_a_run_do_not_share_files(tmp_path, names):
    pixels = np.zeros((4, 5), np.uint8)
    classes = Classes(("a", "b"), ((0, 0, 0), (9, 9, 9)))
    write_samples(tmp_path, [MaskSample(name, np.zeros((4, 5, 3), np.uint8), pixels, pixels, classes) for name in names])
    assert len(files_below(tmp_path)) == 3 * len(names)
    assert all(Image.open(mask).getpalette()[:6] == [0, 0, 0, 9, 9, 9] for mask in tmp_path.glob("*.png"))


def test_refuses_to_overwrite(tmp_path):
    touch(tmp_path, "a", "b")
    refuse_existing([tmp_path / "new"])
    with pytest.raises(ValueError, match=r"b \(and 1 more files\): would be overwritten; .* --overwrite"):
        refuse_existing([tmp_path / "new", tmp_path / "b", tmp_path / "a"])


@pytest.mark.parametrize(
    ("model", "options", "problem"),
    [
        ("none", ["--output=x.onnx"], "x.onnx: would be overwritten"),
        ("x.onnx", ["--output=x.onnx", "--overwrite"], "x.onnx: is the model itself"),
        ("$NOT_SET/model", [], "NOT_SET"),
    ],
)
def test_export_refuses_to_overwrite(tmp_path, monkeypatch, model, options, problem):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "x.onnx")
    with pytest.raises(SystemExit, match=problem):
        main(["export", model, "--to=onnx", *options])


@pytest.mark.parametrize(
    ("given", "output"),
    [("run/last.ckpt", "run/last.onnx"), ("net_1.5", "net_1.5.onnx"), ("net_1.5/", "net_1.5.onnx"), (".", "../here.onnx")],
)
def test_export_is_named_after_its_model(tmp_path, monkeypatch, given, output):
    (tmp_path / "here/net_1.5").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert default_output(Path(given), "onnx").resolve() == Path(output).resolve()
