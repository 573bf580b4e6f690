"""A user's own loss, transform, metric, task and data module, as docs/training.md describes them."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from helpers.repository import REPOSITORY
from helpers.running import QUICK, fit, refusal

from refinenet_pl import SegmentationDataModule


class Reversed(SegmentationDataModule):
    """A data module with an argument of its own."""

    def __init__(self, *args, backwards: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        self.backwards = backwards


@pytest.fixture
def parts(tmp_path):
    """The files of the documentation."""
    section = (REPOSITORY / "docs/training.md").read_text().split("## Your own parts")[1]
    blocks = re.findall(r"^```\w+\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    for name, text in zip(("parts.py", "mine.yaml", "losses.yaml"), blocks, strict=False):
        (tmp_path / name).write_text(text)
    return shlex.split(re.search(r"`refinenet (ablate run losses.yaml .*?)`", section)[1])


@pytest.mark.integration
def test_own_parts_run_in_a_table(parts, tmp_path):
    quick = [option for option in QUICK if not option.startswith("-c=")]
    command = [sys.executable, "-m", "refinenet_pl", *parts, "--seeds", "1", "--", *quick]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "the runs differ in model" not in done.stdout, done.stdout + done.stderr
    assert re.search(r"squared hinge +\| +0\.\d{3} .*\| +[+\u2212]?0\.\d{3} ", done.stdout), done.stdout
    found = [json.loads(file.read_text()) for file in sorted(tmp_path.rglob("results.json"))]
    plain, hinge = (record["config"]["model"]["loss"] for record in found)
    assert (plain, hinge["class_path"]) == ("cross_entropy", "parts.SquaredHinge")
    for record in found:
        metric = record["evaluations"]["val"]["metrics"]["worst_image"]
        assert metric["higher_is_better"] and 0 <= metric["value"] <= record["evaluations"]["val"]["pixel_accuracy"]
    command[4:] = ["table", *parts[2:-2], "--score", "nonsense"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2 and "use one of worst_image, miou" in refused.stderr


def test_own_data_module(tmp_path, capsys):
    path = f"{__name__}.Reversed"
    record = fit(tmp_path, f"--data_module={path}", "--data.backwards=true")
    assert record["config"]["data_module"] == path and record["config"]["data"]["backwards"] is True
    assert "data_module" not in fit(tmp_path / "plain")["config"]
    for wrong in "refinenet_pl.ValueDataModule", "refinenet_pl.Nothing":
        assert f"data_module '{wrong}'" in refusal(capsys, "fit", f"--run.root={tmp_path}", f"--data_module={wrong}")
