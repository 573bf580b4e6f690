"""Tables, claims, states and sweeps of scores other than mIoU, some of which are better if they are lower."""

import csv

import pytest
import yaml
from helpers.tables import TABLE, depth_records, record, rows

from refinenet_pl.ablation.claims import effects
from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.rendering import render, write
from refinenet_pl.ablation.scores import axis_label, primary
from refinenet_pl.ablation.table import Claim
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import find_table
from refinenet_pl.cli import ablate
from refinenet_pl.metrics.registry import PRIMARY, SCORES
from refinenet_pl.metrics.score import Score
from refinenet_pl.report.claims import page


@pytest.fixture
def table(table_file):
    table_file.write_text(TABLE.replace("nyudv2: {paper: 42.5}", "scenes_depth: {paper: 42.5}"))
    return read_table(table_file)


@pytest.fixture
def root(table, tmp_path):
    """Runs in which `shallow` is worse by 0.030, 0.032 and 0.028."""
    depth_records(table, tmp_path, paper=[0.20, 0.21, 0.19], shallow=[0.230, 0.242, 0.218])
    return tmp_path


def test_table_of_an_error(table, root):
    report = build_report(table, "scenes_depth", str(root), [0, 1, 2])
    markdown, file, png = write(report, root / "out")
    text = markdown.read_text()
    # The t-statistic is 0.03 / (0.002 / sqrt(3)) = 26, with two degrees of freedom.
    assert rows(text) == [
        ["network", "AbsRel", "seeds", "difference", "significant", "parameters", "training"],
        ["the paper", "0.200 ± 0.010", "3/3", "reference", "", "1.23 M", "1 min 00 s"],
        ["shallow", "0.230 ± 0.012", "3/3", "+0.030 ± 0.002", "yes, p = 0.001", "1.23 M", "1 min 00 s"],
        ["middle", "missing", "0/3", "", "", "", ""],
    ]
    assert "AbsRel (lower is better) on the val split, seeds" in text
    assert "Difference: paired by seed, relative to “the paper”." in text
    _, row, _ = csv.DictReader(file.open())
    expected = {"abs_rel_mean": 0.23, "abs_rel_seed1": 0.242, "difference_mean": 0.03, "difference_sd": 0.002}
    assert {key: float(row[key]) for key in expected} == pytest.approx(expected) and "paper" not in row
    assert [path.name for path in (markdown, file, png)] == [f"mine@scenes_depth{end}" for end in (".md", ".csv", ".png")]


def test_other_score_of_the_same_records(table, root, capsys):
    words = ["table", str(table.file), "--on", "scenes_depth.yaml", "--root", str(root), "--output", str(root / "out")]
    assert ablate.run_command([*words, "--score", "delta1"]) == 0
    printed = capsys.readouterr().out
    assert [row[1:4:2] for row in rows(printed)[:3]] == [
        ["delta1 %", "difference"], ["80.0 ± 1.0", "reference"], ["77.0 ± 1.2", "\N{MINUS SIGN}3.0 ± 0.2"],
    ]  # fmt: skip
    assert "delta1 on the val split" in printed and "in points, paired by seed" in printed
    assert (root / "out/mine@scenes_depth-delta1.csv").exists()
    assert ablate.run_command([*words, "--score", "miou"]) == 0
    assert "paper-seed0 has no mIoU on val" in capsys.readouterr().out


def test_multi_scale_of_an_error(table_file, tmp_path):
    table_file.write_text(TABLE + "multi_scale: [0.5, 1.0]\n")
    table, scores = read_table(table_file), {"val": {"abs_rel": 0.2}, "val, multi-scale": {"abs_rel": 0.19}}
    record(table, "paper", 0, tmp_path, None, "scenes_depth", evaluations=scores)
    text = render(build_report(table, "scenes_depth", str(tmp_path), [0]))
    assert [row[5] for row in rows(text)[:2]] == ["multi-scale", "0.190"]
    assert "multi-scale: the same networks, values averaged over the scales 0.5, 1." in text


def test_primary_score():
    assert {name: primary([{}, {"evaluations": {"test": {name: 0.5, "rmse": 1.0}}}]).name for name in PRIMARY} == dict(
        zip(PRIMARY, PRIMARY, strict=True)
    )
    assert primary([{"evaluations": {}, "curve": [{"epoch": 1, "pck_10": 0.5}]}]).name == "pck_10"  # diverged
    assert primary([]).name == "miou"


def test_axis_labels():
    assert axis_label(SCORES["miou"], "val") == "mIoU on val, %"
    assert axis_label(SCORES["abs_rel"], "test") == "AbsRel on test (lower is better)"
    assert axis_label(Score("e", "error", "m", False), "val") == "error on val, m (lower is better)"


def test_state_shows_the_primary_score(table, root, capsys):
    words = ["status", str(table.file), "--on", "scenes", "--root", str(root), "--seeds", "1"]
    record(table, "paper", 0, root, 0.542)
    angle = {"val": {"mean_angle": 12.34}}
    record(table, "shallow", 0, root, None, evaluations=angle)
    assert ablate.run_command(words) == 1
    shown = capsys.readouterr().out
    assert "54.2% mIoU on val" in shown and "12.3° mean angle on val" in shown


DEEPER = {"paper": 1, "shallow": -1}


def test_an_effect_is_an_improvement(table, root):
    claims = [
        Claim("a", "mine", DEEPER, "more"),
        Claim("b", "mine", DEEPER, "more", "delta1"),
        Claim("c", "mine", DEEPER, "more", "rmse", minus="abs_rel"),
        Claim("boundaries", "mine", DEEPER, "more", "boundary_miou"),
    ]
    found = {effect.claim.claim: effect for effect in effects(claims, "scenes_depth", root)}
    assert {name: (effect.score.name, effect.mean) for name, effect in found.items()} == {
        "a": ("abs_rel", pytest.approx(0.03)), "b": ("delta1", pytest.approx(3)), "c": ("rmse", pytest.approx(0.27)),
    }  # fmt: skip
    assert {effect.verdict for effect in found.values()} == {"supported"}


@pytest.mark.parametrize(
    "differences, more, equal",
    [
        ([0.002, -0.001, 0.001], "not supported", "supported"),  # within the margin of AbsRel, 0.01
        ([0.03, -0.02, 0.02], "inconclusive", "inconclusive"),
        ([-0.03, -0.032, -0.028], "not supported", "not supported"),
    ],
)
def test_margin_of_the_score(table, tmp_path, differences, more, equal):
    depth_records(table, tmp_path, paper=[0.2] * 3, shallow=[0.2 + difference for difference in differences])
    claims = [Claim(expects, "mine", DEEPER, expects) for expects in ("more", "equal")]
    assert [effect.verdict for effect in effects(claims, "scenes_depth", tmp_path)] == [more, equal]


def test_page_of_claims(tmp_path):
    scores = {"cascade_1": [0.230, 0.242, 0.218], "cascade_2": [0.20, 0.21, 0.19]}
    depth_records(read_table(find_table("cascade")), tmp_path, "nyudv2", **scores)
    relus = read_table(find_table("relu_placement"))
    for cell in ("paper", "relu_shortcut"):
        record(relus, cell, 0, tmp_path, 0.5)
    text = page(tmp_path)
    overview, _, rest = text.partition("## Practical questions")
    _, others = overview.split("## The paper's other claims")
    assert rows(others)[0] == ["claim", "table", "paper, points", "NYUDv2 (AbsRel)", "Scenes"]
    assert rows(others)[1][3:] == ["supported (+0.030)", "not run"]
    header, row = rows(rest.partition("## NYUDv2")[2].partition("## Scenes")[0])
    assert header[2] == "improvement"
    assert row[1:4] == ["`cascade_1` \N{MINUS SIGN} `cascade_2`, AbsRel", "+0.030", "+0.025 to +0.035"]
    assert "±0.01 for AbsRel; ±1 for mIoU (in points)." in text


@pytest.mark.parametrize(
    "recipe, metric",
    [
        ("data: {dataset: scenes_depth}", {"name": "val/abs_rel", "goal": "minimize"}),
        ("data: {dataset: scenes_keypoints}", {"name": "val/pck_10", "goal": "maximize"}),
        ("data: {dataset: scenes_labels}", {"name": "val/label_miou", "goal": "maximize"}),
        ("base: scenes", {"name": "val/miou", "goal": "maximize"}),
        ("data: {dataset: value_folder, root: normals}", {"name": "val/mean_angle", "goal": "minimize"}),
    ],
)
def test_metric_of_a_sweep(table, tmp_path, capsys, monkeypatch, recipe, metric):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "normals").mkdir()
    (tmp_path / "normals/values.yaml").write_text("kind: normals")
    (tmp_path / "base.yaml").write_text(recipe)
    (tmp_path / "derived.yaml").write_text("base: base.yaml\ndata: {global_batch: 2}")
    assert ablate.run_command(["sweep", str(table.file), "--on", "derived.yaml", "--seeds", "1"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["metric"] == metric


@pytest.mark.parametrize(
    "recipe, words",
    [
        ("data: {dataset: nothing}", "mine_too.yaml: data.dataset: unknown dataset 'nothing'"),
        ("data: {dataset: value_folder, root: nothing}", "nothing/values.yaml: no such file"),
        ("[1]", "mine_too.yaml: is not a recipe"),
        ("data: [", "mine_too.yaml: is not a recipe"),
    ],
)
def test_sweep_of_an_invalid_recipe(table, tmp_path, capsys, recipe, words):
    file = tmp_path / "mine_too.yaml"
    file.write_text(recipe)
    assert ablate.run_command(["sweep", str(table.file), "--on", str(file), "--seeds", "1"]) == 2
    assert words in capsys.readouterr().err
