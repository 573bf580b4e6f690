"""Figures of the README show the current records, data and names."""

import inspect
import json
import re
import shutil

import pytest
import segmentation_models_pytorch as smp
from helpers.repository import REPOSITORY
from PIL import Image

from docs import figures
from refinenet_pl import RefineNet
from refinenet_pl.callbacks.throughput import Throughput
from refinenet_pl.datasets.scenes import Scenes


def stale(capsys, *names: str) -> list[str]:
    """The figures that `--check` lists, of these or of all."""
    with pytest.raises(SystemExit) as exit_:
        figures.main(["--check", *names])
    found = re.findall(r"stale: docs/(\w+)\.png", capsys.readouterr().out)
    assert exit_.value.code == (1 if found else 0)
    return found


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A copy of the kept results, which the figures are compared with."""
    for group in "chained_pooling@scenes", "single@camvid":
        shutil.copytree(figures.RESULTS / group, tmp_path / group)
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    return tmp_path


def test_no_figure_is_stale(capsys):
    assert {path.stem for path in figures.DOCS.glob("*.png")} == set(figures.SHOWN)
    assert stale(capsys) == []


@pytest.mark.parametrize("name, group", [("page", "chained_pooling@scenes"), ("camvid", "single@camvid")])
def test_record_is_changed(capsys, results, name, group):
    assert stale(capsys, name) == []
    file = results / group / "records.jsonl"
    first, *others = file.read_text().splitlines()
    record = json.loads(first)
    record["evaluations"]["val"]["miou"] += 0.01
    file.write_text("\n".join([json.dumps(record), *others]) + "\n")
    assert stale(capsys, "page", "camvid") == [name]


def test_images_of_scenes_are_changed(capsys, monkeypatch):
    read = Scenes.read
    monkeypatch.setattr(Scenes, "read", lambda self, index: (255 - read(self, index)[0], read(self, index)[1]))
    assert stale(capsys, "scenes", "samples") == ["scenes", "samples"]


def test_logged_name_is_changed(capsys, monkeypatch):
    monkeypatch.setattr(Throughput, "on_train_batch_end", lambda *_: None)
    assert stale(capsys, "wandb") == ["wandb"]


def test_recipe_is_changed(capsys, monkeypatch, tmp_path):
    for name in "_small.yaml", "scenes.yaml":
        text = (figures.RECIPES / name).read_text()
        (tmp_path / name).write_text(text.replace("learning_rate: 1.0e-2", "learning_rate: 2.0e-2"))
    monkeypatch.setattr(figures, "RECIPES", tmp_path)
    assert stale(capsys, "wandb") == ["wandb"]


def test_missing_figure_and_one_without_a_source_are_stale(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "DOCS", tmp_path)
    assert stale(capsys, "camvid") == ["camvid"]
    Image.new("RGB", (8, 8)).save(tmp_path / "camvid.png")
    assert stale(capsys, "camvid") == ["camvid"]


def test_saved_figure_is_current(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "DOCS", tmp_path)
    figures.main(["scenes"])
    assert stale(capsys, "scenes") == []
    with Image.open(tmp_path / "scenes.png") as new, Image.open(REPOSITORY / "docs" / "scenes.png") as committed:
        assert new.size == committed.size


def test_checkpoint_of_another_run_is_refused(capsys, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"evaluations": {}}))
    for file in tmp_path / "best.ckpt", tmp_path / "missing" / "best.ckpt":
        with pytest.raises(SystemExit):
            figures.main(["camvid", "--checkpoint", str(file)])
        assert "records.jsonl" in capsys.readouterr().err


def test_checkpoint_of_the_kept_run_is_accepted(tmp_path):
    (kept,) = (figures.RESULTS / "single@camvid" / "records.jsonl").read_text().splitlines()
    (tmp_path / "results.json").write_text(json.dumps({"evaluations": json.loads(kept)["evaluations"]}))
    assert figures.has_kept_record(tmp_path / "best.ckpt")


def test_terminal_is_rendered_as_html():
    pytest.importorskip("pyte")
    from docs.terminal import Terminal

    script = r"printf '\033[1;38;2;1;2;3mbold\033[0m <\u2809 \u2584\n'; stty size; read key; echo got $key; sleep 60"
    with Terminal(["bash", "-c", script], rows=5, columns=20, environment={"LC_ALL": "C.UTF-8"}) as terminal:
        terminal.wait_for("5 20")
        terminal.type("x\r")
        terminal.wait_for("got x")
        page = terminal.html()
    assert '<span style="color: #010203; background: #14181c; font-weight: bold">bold</span>' in page
    assert "&lt;" in page and page.count("linear-gradient") == 1
    assert re.findall(r"circle at (\S+ \S+),", page) == ["25% 12.5%", "75% 12.5%"]


def test_diagram_of_the_network_shows_its_defaults():
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (REPOSITORY / "docs" / "network.svg").read_text(encoding="utf-8"))
    default = {name: argument.default for name, argument in inspect.signature(RefineNet).parameters.items()}
    channels = smp.encoders.get_encoder(default["encoder_name"], weights=None).out_channels[2:]
    stages = [f"1/{4 * 2**number}, {width} channels" for number, width in enumerate(channels)]
    assert [text for text in texts if "channels" in text] == stages[: default["cascade"]]
    widths = [default["width"]] * (default["cascade"] - 1) + [default["deepest_width"]]
    assert [text for text in texts if "wide" in text] == [f"{width} wide" for width in widths]
    assert sorted(text for text in texts if re.fullmatch(r"RCU.{0,4}", text)) == sorted(
        f"RCU x {default[name]}" if default[name] > 1 else "RCU"
        for name in ("path_rcus", "path_rcus", "output_rcus", "head_rcus")
    )
    assert any(f"s{default['pooling_blocks']};" in text for text in texts)
