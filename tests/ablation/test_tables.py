"""Ablation tables: their files, the commands, and the figures."""

import csv
import io
import json
import re
import shlex
import subprocess

import numpy as np
import pytest
import yaml
from helpers.repository import REPOSITORY, program
from helpers.tables import TABLE, record
from PIL import Image

from refinenet_pl.ablation import plan
from refinenet_pl.ablation.arguments import network_arguments
from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.records import RecordError, find_seeds
from refinenet_pl.ablation.rendering import duration, render, write
from refinenet_pl.ablation.significance import compare, holm
from refinenet_pl.ablation.table import TableError
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_table
from refinenet_pl.cli import ablate
from refinenet_pl.errors import CatalogError
from refinenet_pl.tracking.identity import RunId

NAMES = sorted(path.stem for path in TABLES.glob("*.yaml"))

# Claims on the table of `conftest.py`.
CLAIMS = "claims: [{claim: A., effect: {paper: 1, shallow: -1}, expects: more}]\n"

# CVPR 2017, single-scale rows: (encoder, pooling blocks, cascade, scales) -> mIoU. Table 2 has both data sets, Table 9 NYUDv2.
PRINTED = {
    "nyudv2": {
        ("resnet50", 0, 4, 1): 40.4,
        ("resnet50", 2, 4, 1): 42.5,
        ("resnet101", 2, 4, 1): 43.6,
        ("resnet50", 2, 1, 1): 40.3,
        ("resnet50", 2, 2, 1): 40.9,
        ("resnet50", 2, 4, 2): 43.1,
    },
    "person_part": {("resnet50", 0, 4, 1): 64.1, ("resnet50", 4, 4, 1): 65.7, ("resnet101", 4, 4, 1): 67.6},
}


# Table files


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("title: A title\n", "", "title: is missing"),
        ("title: A title", "title:", "title: must be text"),
        ("title: A title", "titel: A title", "titel: unknown key"),
        ("title: A title", "title: A title\ntitle: B", "'title' stands twice"),
        ("  middle:", "  shallow:", "'shallow' stands twice"),
        ("reference: paper", "reference: papper", "reference: no cell is called 'papper'"),
        ("  middle:", "  off:", "False is no name"),
        ("  middle:", "  a/b:", "'a/b' is no name"),
        ("network: {cascade: 2}", "network: {cascades: 2}", "cells.middle.network.cascades: unknown key"),
        ("network: {cascade: 2}", "task: {rate: 2}", "cells.middle.task.rate: unknown key"),
        ("network: {cascade: 2}", "networks: {}", "cells.middle.networks: unknown key"),
        ("network: {cascade: 2}", "network: 2", "cells.middle.network: must be a mapping"),
        ("label: middle, ", "", "cells.middle.label: must be text"),
        ("network: {cascade: 2}", "network_class: 2", "cells.middle.network_class: must be text"),
        (
            "network: {cascade: 2}",
            "network: {}, network_class: a.B",
            "cells.middle.network: has RefineNet's arguments",
        ),
        ("network: {cascade: 2}", "recipe: {crop_size: 2}", "cells.middle.recipe.crop_size: must be a key of a recipe"),
        (
            "network: {cascade: 2}",
            "recipe: {model.network.init_args.cascade: 2}",
            "cells.middle.recipe.model.network.init_args.cascade: other cells vary this as cascade",
        ),
        (
            "network: {cascade: 2}",
            "network: {cascade: 1}",
            "cells.middle: is the same network and training as the cell shallow",
        ),
        ("network: {cascade: 2}", "network: {cascade: 4}", "cells.middle: is the same network and training as the cell paper"),
        ("network: {cascade: 2}", "network: {encoder_name: resnet18}", "cells.paper: encoder_name is missing"),
        ("{paper: 42.5}", "{papper: 42.5}", "published.nyudv2.papper: no cell is called that"),
        ("{paper: 42.5}", "{paper: 0.425}", "published.nyudv2.paper: must be an mIoU in per cent"),
        ("published:", "settings: {nyudv2: {cascade: 4}}\npublished:", "settings.nyudv2.cascade: the cells vary this"),
        ("published:", "settings: {nyudv2: {blocks: 4}}\npublished:", "settings.nyudv2.blocks: unknown key"),
        ("cells:", "cells: [", "mine.yaml"),
    ],
)
def test_a_bad_table_file_is_refused_with_file_and_key(table_file, old, new, words):
    assert old in TABLE
    table_file.write_text(TABLE.replace(old, new))
    with pytest.raises(TableError) as error:
        read_table(table_file)
    assert str(table_file) in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("[{claim: A., effect: {paper: 1, shallow: -1}, expects: more}]", "{}", "claims: must be a list"),
        ("claim: A., ", "", "claims.0.claim: must be text"),
        ("claim: A.", "claim: A., table: mine", "claims.0.table: unknown key"),
        ("expects: more", "expects: less", "claims.0.expects: must be one of more, equal, not 'less'"),
        (", expects: more", "", "claims.0.expects: must be one of more, equal, not None"),
        ("claim: A.", "claim: A., score: iou", "claims.0.score: must be one of miou, boundary_miou, not 'iou'"),
        ("claim: A.", "claim: A., family: ours", "claims.0.family: must be one of claims, questions, not 'ours'"),
        ("shallow: -1", "shallow: -2", "claims.0.effect: the weights must sum to 0"),
        ("shallow: -1", "shallow: less", "claims.0.effect.shallow: must be a number, not 'less'"),
        ("shallow: -1", "deep: -1", "claims.0.effect.deep: no cell is called that; there are paper, shallow, middle"),
        ("claim: A.", "claim: A., paper: {nyudv2: {paper: 1}}", "claims.0.paper.nyudv2: the weights must sum to 0"),
        ("claim: A.", "claim: A., paper: {nyudv2: {paper: 1, deep: -1}}", "claims.0.paper.nyudv2.deep: no cell is called that"),
    ],
)
def test_a_bad_claim_is_refused_with_file_and_key(table_file, old, new, words):
    table_file.write_text(TABLE + CLAIMS)
    (claim,) = read_table(table_file).claims
    assert (claim.claim, claim.table, claim.effect) == ("A.", "mine", {"paper": 1, "shallow": -1})
    assert old in CLAIMS
    table_file.write_text(TABLE + CLAIMS.replace(old, new))
    with pytest.raises(TableError) as error:
        read_table(table_file)
    assert f"{table_file}: {words}" in str(error.value)


@pytest.mark.parametrize("content", ["", "- a", "text"])
def test_a_file_that_is_no_mapping_is_refused(table_file, content):
    table_file.write_text(content)
    with pytest.raises(TableError, match="must be a mapping"):
        read_table(table_file)


def test_the_tables_are_there():
    cells = {name: len(read_table(find_table(name)).cells) for name in NAMES}
    assert cells == {
        "capacity": 6,
        "cascade": 4,
        "chained_pooling": 10,
        "initialization": 5,
        "learning_rate_sensitivity": 10,
        "peers": 8,
        "rcu_removal": 5,
        "relu_placement": 3,
        "training": 16,
    }
    with pytest.raises(CatalogError, match="there are: capacity, cascade, chained_pooling"):
        find_table("cascades")


def test_values_of_the_paper_are_the_networks_defaults_but_the_encoder_has_none():
    settings = network_arguments()
    assert {name: settings[name].paper for name in ("cascade", "width", "pooling_blocks", "image_scales", "shortcut")} == {
        "cascade": 4, "width": 256, "pooling_blocks": 4, "image_scales": (1.0,), "shortcut": "identity",
    }  # fmt: skip
    assert {name for name, setting in settings.items() if not setting.has_paper_value} == {"encoder_name", "encoder_weights"}
    assert not settings.keys() & {"classes", "in_channels"}, "the dataset gives them"


def test_only_figures_printed_in_the_paper_are_published_and_at_the_network_they_belong_to():
    count = 0
    for name in NAMES:
        table = read_table(find_table(name))
        assert set(table.published) <= {"nyudv2", "person_part"}
        for recipe, figures in table.published.items():
            for cell, figure in figures.items():
                paper = {argument: setting.paper for argument, setting in network_arguments().items()}
                network = paper | table.settings[recipe] | table.cells[cell].network
                others = {"path_rcus": 2, "output_rcus": 1, "head_rcus": 2, "pooling_relu": True, "pooling_order": "pool_conv"}
                assert all(network[argument] == value for argument, value in others.items())
                key = (network["encoder_name"], network["pooling_blocks"], network["cascade"], len(network["image_scales"]))
                assert PRINTED[recipe][key] == figure, (name, recipe, cell)
                count += 1
    assert count == 12


def test_multi_scale_figures_are_those_printed_in_table_2():
    tables = [read_table(find_table(name)) for name in NAMES]
    assert [table.name for table in tables if table.published_multi_scale] == ["initialization"]
    table = read_table(find_table("initialization"))
    assert table.multi_scale == [0.4, 0.6, 0.8, 1.0, 1.2]
    assert table.published_multi_scale == {
        "nyudv2": {"resnet50": 43.8, "resnet101": 44.7, "resnet152": 46.5},
        "person_part": {"resnet50": 67.1, "resnet101": 68.6, "resnet152": 68.8},
    }


# Commands


def commands(capsys, *arguments):
    assert ablate.run_command(["commands", *arguments]) == 0
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def test_commands_are_exact(capsys, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    lines = commands(capsys, "cascade", "--on", "camvid", "--seeds", "2", "--cells", "cascade_4_two_scales", "cascade_1")
    start = ["refinenet", "fit", "-c", "camvid", "--run.table", "cascade", "--run.root", "runs", "--run.cell"]
    assert lines == [
        [*start, "cascade_1", "--seed_everything", "0"],
        [*start, "cascade_4_two_scales", "--seed_everything", "0"],
        [*start, "cascade_1", "--seed_everything", "1"],
        [*start, "cascade_4_two_scales", "--seed_everything", "1"],
    ]


def test_commands_pass_extra_arguments_on_and_quote(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my own.yaml").write_text("{}")
    arguments = ["relu_placement", "--on", "my own.yaml", "--seeds", "1", "--cells", "relu_shortcut", "--root", "a b"]
    (line,) = commands(capsys, *arguments, "--", "--trainer.max_epochs=1", "--x", "y z")
    assert line[2:4] == ["-c", "my own.yaml"]
    assert line[line.index("--run.root") + 1] == "a b"
    assert line[-3:] == ["--trainer.max_epochs=1", "--x", "y z"]


def test_options_of_a_cell_spell_out_the_papers_values_and_those_of_its_table():
    table = read_table(find_table("cascade"))
    network = "--model.network.init_args"
    own = [f"{network}.cascade=2", f"{network}.image_scales=[1.0]"]
    assert plan.cell_options(table, "cascade_2", "scenes") == own
    papers = [f"{network}.encoder_name=resnet50", f"{network}.pooling_blocks=2"]
    assert plan.cell_options(table, "cascade_2", "nyudv2") == [*papers, *own]


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_has_options_that_parse_back(name):
    table = read_table(find_table(name))
    seen = set()
    for cell in table.cells.values():
        options = [option.removeprefix("--").split("=", 1) for option in plan.cell_options(table, cell.name, "mine")]
        parsed = {key: yaml.safe_load(value) for key, value in options}
        for argument, value in cell.network.items():
            assert parsed[f"model.network.init_args.{argument}"] == value
        for argument, value in cell.task.items():
            assert parsed[f"model.{argument}"] == value
        assert cell.recipe.items() <= parsed.items()
        if cell.network_class:
            assert parsed == {"model.network": cell.network_class} | cell.recipe
        else:
            assert len(parsed) == len(table.varied) + len(cell.recipe) + 2 * bool(table.multi_scale)
        seen.add(json.dumps(parsed, sort_keys=True))
    assert len(seen) == len(table.cells)


def test_a_wrong_name_is_an_error_that_says_what_there_is(capsys):
    for given, words in [
        (["commands", "nothing", "--on", "camvid", "--seeds", "1"], "no table 'nothing'"),
        (["commands", "cascade", "--on", "nothing", "--seeds", "1"], "no recipe 'nothing'"),
        (["commands", "cascade", "--on", "camvid", "--seeds", "1", "--cells", "x"], "cascade has no cell x; it has cascade_1"),
    ]:
        assert ablate.run_command(given) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ablate.run_command(["run", "cascade", "--on", "camvid", "--seeds", "0"])
    assert ablate.run_command(["table", "cascade", "--on", "camvid", "--", "--x"]) == 2
    assert "table starts no run, so it has no options after --" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ablate.run_command(["run", "cascade", "--on", "camvid", "--seeds", "1", "--reuse", "true"])
    assert "unrecognized arguments: --reuse true; options of the training come last, after --" in capsys.readouterr().err


def test_list_shows_tables_recipes_and_cells(capsys):
    assert ablate.run_command(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)
    assert "camvid" in shown
    assert ablate.run_command(["list", "cascade"]) == 0
    assert "cascade_4_two_scales" in capsys.readouterr().out


# Figures


def test_figures(table_file, tmp_path):
    table = read_table(table_file)
    for seed, (paper, shallow) in enumerate([(0.60, 0.50), (0.64, 0.55), (0.62, 0.57)]):
        record(table, "paper", seed, tmp_path, paper, seconds=190 + 10 * seed)
        record(table, "shallow", seed, tmp_path, shallow)
    report = build_report(table, "scenes", str(tmp_path), [0, 1, 2])
    paper, shallow, middle = report.rows
    assert paper.score.mean == pytest.approx(62.0)
    assert paper.score.spread == pytest.approx(2.0)
    assert paper.difference.mean is None
    assert shallow.score.mean == pytest.approx(54.0)
    assert shallow.score.spread == pytest.approx(13**0.5)
    # Paired: -10, -9, -5, whose spread is not that of the rows' own.
    assert shallow.difference.mean == pytest.approx(-8.0)
    assert shallow.difference.spread == pytest.approx(7**0.5)
    assert middle.score.mean is None
    assert report.warnings == report.missing == []
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in render(report).splitlines() if line.startswith("|")]
    assert rows[0] == ["network", "mIoU %", "seeds", "difference", "more than noise", "parameters", "training"]
    assert rows[2] == ["the paper", "62.0 ± 2.0", "3/3", "reference", "", "1.23 M", "3 min 20 s"]
    # t = 8 / sqrt(7 / 3) with two degrees of freedom; 4.303 is the 97.5 % point of Student's distribution for two.
    assert rows[3] == ["shallow", "54.0 ± 3.6", "3/3", "\N{MINUS SIGN}8.0 ± 2.6", "yes, p = 0.035", "1.23 M", "1 min 00 s"]
    assert shallow.significance.low == pytest.approx(-8 - 4.303 * (7 / 3) ** 0.5, abs=1e-3)
    assert shallow.significance.high == pytest.approx(-8 + 4.303 * (7 / 3) ** 0.5, abs=1e-3)
    assert rows[4] == ["middle", "missing", "0/3", "", "", "", ""]
    assert "Git revision: 0123456789. Device: CPU, 2 threads." in render(report)


def test_another_score_than_miou(table_file, tmp_path, capsys):
    table = read_table(table_file)
    for seed in range(2):
        for cell, boundary in ("paper", 0.4 + seed / 100), ("shallow", 0.3 - seed / 100):
            val = {"miou": 0.6, "boundary_miou": boundary}
            record(table, cell, seed, tmp_path, 0.6, recipe="nyudv2", evaluations={"val": val})
    record(table, "middle", 0, tmp_path, 0.6, recipe="nyudv2")
    words = ["table", str(table_file), "--on", str(tmp_path / "nyudv2.yaml"), "--root", str(tmp_path)]
    assert ablate.run_command([*words, "--score", "boundary_miou", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    assert rows[0][:4] == ["network", "boundary mIoU %", "seeds", "difference"] and "paper %" not in rows[0]
    assert rows[2][1] == "40.5 ± 0.7" and rows[3][1] == "29.5 ± 0.7" and rows[3][3] == "\N{MINUS SIGN}11.0 ± 1.4"
    assert "middle-seed0 has no boundary mIoU on val" in printed and "0.5 % of the picture's diagonal" in printed
    stem = f"{table.name}@nyudv2-boundary_miou"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{stem}{end}" for end in (".csv", ".md", ".png")]
    assert (tmp_path / "out" / f"{stem}.csv").read_text().startswith("cell,label,seeds,boundary_miou_mean,")


def test_a_cell_may_be_another_network(tmp_path, capsys):
    table = read_table(find_table("peers"))
    fpn = table.cells["fpn"].network_class
    options = plan.cell_options(table, "fpn", "scenes")
    assert f"--model.network={fpn}" in options and not any("init_args" in option for option in options)
    for cell in "refinenet", "light_weight", "fpn":
        record(table, cell, 0, tmp_path, 0.6)
    config = {"class_path": fpn, "init_args": {"decoder_pyramid_channels": 256}}
    record(table, "fpn", 0, tmp_path, 0.6, config__model__network=config)
    report = build_report(table, "scenes", str(tmp_path), [0], ["refinenet", "light_weight", "fpn"])
    assert report.warnings == []
    # A RefineNet of another width would still be noticed, and so would another network than the table's.
    record(table, "refinenet", 0, tmp_path, 0.6, config__model__network__init_args__width=128)
    record(table, "fpn", 0, tmp_path, 0.6, config__model__network=config | {"class_path": "smp.Unet"})
    warnings = build_report(table, "scenes", str(tmp_path), [0]).warnings
    assert any(f"fpn ran with the network smp.Unet, but the table has {fpn}" in warning for warning in warnings)
    assert any("model.network.init_args.width" in warning for warning in warnings)
    assert ablate.run_command(["list", "peers"]) == 0
    assert fpn in capsys.readouterr().out


def test_a_cell_may_change_the_recipe(table_file, tmp_path):
    table_file.write_text(TABLE.replace("network: {cascade: 2}", "recipe: {data.crop_size: [64, 96]}"))
    table = read_table(table_file)
    assert "--data.crop_size=[64,96]" in plan.cell_options(table, "middle", "scenes")
    for cell, size in ("paper", [64, 64]), ("shallow", [64, 64]), ("middle", [64, 96]):
        record(table, cell, 0, tmp_path, 0.6, config__data__crop_size=size)
    assert build_report(table, "scenes", str(tmp_path), [0]).warnings == []
    record(table, "middle", 0, tmp_path, 0.6, config__data__crop_size=[64, 97])
    record(table, "shallow", 0, tmp_path, 0.6, config__data__crop_size=[32, 32])
    warnings = build_report(table, "scenes", str(tmp_path), [0]).warnings
    assert any("middle ran with data.crop_size [64, 97], but the table has [64, 96]" in warning for warning in warnings)
    assert any("the runs differ in data.crop_size: [64, 64] (paper seed 0); [32, 32] (shallow seed 0)" in w for w in warnings)


def test_a_cell_may_take_in_what_another_has_and_replace_some_of_it(table_file):
    shared = "recipe: &shared {data.crop_size: [64, 96], data.global_batch: 4}"
    merged = "recipe: {<<: *shared, data.global_batch: 8}"
    content = TABLE.replace("network: {cascade: 1}", shared).replace("network: {cascade: 2}", merged)
    table_file.write_text(content)
    assert read_table(table_file).cells["middle"].recipe == {"data.crop_size": [64, 96], "data.global_batch": 8}


def test_partial_seeds_and_other_split_and_reference(table_file, tmp_path):
    table = read_table(table_file)
    record(table, "paper", 0, tmp_path, 0.6)
    record(table, "shallow", 0, tmp_path, 0.5)
    record(table, "shallow", 1, tmp_path, 0.7)
    record(table, "middle", 1, tmp_path, None)
    (tmp_path / "mine@scenes/paper/seed1").mkdir()
    assert find_seeds(table, "scenes", str(tmp_path)) == [0, 1]
    report = build_report(table, "scenes", str(tmp_path), [0, 1])
    lines = render(report).splitlines()
    assert any("| the paper |" in line and " 60.0 |" in line and " 1/2 |" in line for line in lines)
    assert any("| shallow " in line and "60.0 ± 14.1" in line and "\N{MINUS SIGN}10.0 (1 of 2)" in line for line in lines)
    assert "paper-seed1 has not begun to train" in render(report) and "needs two seeds" in render(report)
    assert "middle-seed1 has no mIoU on val" in render(report)
    report = build_report(table, "scenes", str(tmp_path), [0], ["paper"], split="test", reference="shallow")
    assert [row.score.mean for row in report.rows] == [pytest.approx(30.0)]
    assert report.rows[0].difference.mean == pytest.approx(5.0)
    with pytest.raises(TableError, match="no cell nothing"):
        build_report(table, "scenes", str(tmp_path), [0], reference="nothing")


def test_differences_are_tested_together():
    # Three rows of p 0.01, 0.02, 0.03: Holm multiplies by 3, 2, 1, and no p becomes less than the one before.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []
    clear, noise, one, equal = compare([[5.0, 5.1, 4.9], [1.0, -1.0, 0.5], [7.0], [0.0, 0.0]])
    assert clear.is_shown and not noise.is_shown and one is None and not equal.is_shown
    assert clear.p < clear.adjusted_p == pytest.approx(3 * clear.p)


def test_the_test_calls_noise_a_difference_as_rarely_as_it_says():
    noise = np.random.default_rng(0).normal(size=(400, 9, 3))  # 400 tables of nine rows and three seeds without a difference
    wrong = sum(any(row.is_shown for row in compare(table)) for table in noise)
    assert 0.01 < wrong / len(noise) < 0.08, "about 5 % of the tables"


def test_failed_and_stopped_runs_are_told_from_missing_ones(table_file, tmp_path):
    table = read_table(table_file)
    record(table, "paper", 0, tmp_path, 0.6)
    for cell, end in ("shallow", "-- ended with exit code 1 --"), ("middle", "-- ended with exit code 143 --"):
        directory = RunId("scenes", "mine", cell, 0, str(tmp_path)).directory
        directory.mkdir(parents=True)
        (directory / "log.txt").write_text(f"RuntimeError: no memory\n{end}\n")
    text = render(build_report(table, "scenes", str(tmp_path), [0, 1]))
    assert re.search(r"\| the paper +\| +60.0 \| +1/2 \| +reference", text)
    assert re.search(r"\| shallow +\| +failed \| +0/2 \(1 failed\)", text)
    assert re.search(r"\| middle +\| +missing \| +0/2 \(1 stopped\)", text)
    assert "shallow-seed0 has failed (exit code 1: RuntimeError: no memory)" in text
    assert "middle-seed0 was stopped (run it again to go on)" in text


@pytest.mark.parametrize("name", NAMES)
def test_latex_compiles(name, tmp_path):
    pdflatex = program("pdflatex", "texlive-latex-recommended")
    table = read_table(TABLES / f"{name}.yaml")
    recipe = next(iter(table.published), "scenes")
    for seed in range(3):
        for place, cell in enumerate(list(table.cells)[1:]):
            record(
                table, cell, seed, tmp_path, 0.4 + 0.01 * place + 0.001 * seed**2 * (-1) ** place + 0.003 * seed, recipe=recipe
            )
    text = render(build_report(table, recipe, str(tmp_path), [0, 1, 2]), "latex")
    assert text.count("toprule") == 1 and "missing" in text
    page = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{text}\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(page, encoding="utf-8")
    made = subprocess.run(
        [pdflatex, "-halt-on-error", "-interaction=nonstopmode", "table.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert made.returncode == 0 and "Missing character" not in made.stdout, made.stdout[-2000:]


def test_the_papers_column_stands_only_where_the_paper_has_figures(table_file, tmp_path):
    table = read_table(table_file)
    for recipe, there in (("nyudv2", True), ("scenes", False)):
        record(table, "paper", 0, tmp_path, 0.4, recipe=recipe)
        report = build_report(table, recipe, str(tmp_path), [0])
        assert ("paper %" in render(report)) == there
        assert (" 42.5 |" in render(report)) == there
        assert ("paper" in render(report, "csv").splitlines()[0].split(",")) == there


def test_multi_scale_evaluation_is_a_column_of_its_own(table_file, tmp_path):
    text = table_file.read_text()
    table_file.write_text(text + "multi_scale: [0.5, 1.0]\npublished_multi_scale: {nyudv2: {paper: 43.8}}\n")
    table = read_table(table_file)
    options = plan.cell_options(table, "paper", "scenes")
    assert {"--model.test_scales=[0.5,1.0]", "--model.test_flip=false"} <= set(options)
    both = {"val": {"miou": 0.4}, "val, multi-scale": {"miou": 0.43}}
    record(table, "paper", 0, tmp_path, 0.4, recipe="nyudv2", evaluations=both)
    record(table, "shallow", 0, tmp_path, 0.3, recipe="nyudv2")
    report = build_report(table, "nyudv2", str(tmp_path), [0])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in render(report).splitlines() if line.startswith("|")]
    assert rows[0][3:8] == ["difference", "more than noise", "paper %", "multi-scale %", "paper, multi-scale %"]
    assert rows[2][5:8] == ["42.5", "43.0", "43.8"] and rows[3][5:8] == ["", "missing", ""]
    assert "shallow-seed0 has no mIoU on val, multi-scale" in render(report)
    assert "averaged over the scales 0.5, 1" in render(report)
    with_columns = list(csv.DictReader(io.StringIO(render(report, "csv"))))
    assert with_columns[0]["multi_scale_mean"] == "43" and with_columns[0]["paper_multi_scale"] == "43.8"


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"config__model__network__init_args__width": 64},
            "the runs differ in model.network.init_args.width: 256 (paper seed 0, paper seed 1); 64 (shallow seed 0)",
        ),
        ({"config__data__crop": [8, 8]}, "the runs differ in data.crop"),
        ({"git__revision": "fedcba"}, "the runs differ in git revision"),
        ({"git__dirty": True}, "the runs differ in uncommitted changes"),
        ({"device": "H100"}, "the runs differ in device"),
        ({"versions__torch": "2.0"}, "the runs differ in version of torch"),
        ({"config__model__network__init_args__cascade": 3}, "shallow ran with cascade 3, but the table has 1 (seed 0)"),
    ],
)
def test_runs_that_differ_in_more_than_the_cell_are_warned_about(table_file, tmp_path, change, words):
    table = read_table(table_file)
    record(table, "paper", 0, tmp_path, 0.6)
    record(table, "paper", 1, tmp_path, 0.6)
    record(table, "shallow", 0, tmp_path, 0.6, **change)
    report = build_report(table, "scenes", str(tmp_path), [0, 1])
    assert len(report.warnings) == 1
    assert words in report.warnings[0]
    assert "**Warning:**" in render(report)


def test_where_values_went_is_no_difference(table_file, tmp_path):
    table = read_table(table_file)
    record(table, "paper", 0, tmp_path, 0.6, config__track="wandb")
    record(table, "shallow", 0, tmp_path, 0.5, config__track="csv")
    assert build_report(table, "scenes", str(tmp_path), [0]).warnings == []


def test_other_settings_than_the_papers_are_warned_about(tmp_path):
    table = read_table(find_table("cascade"))
    record(table, "cascade_4", 0, tmp_path, 0.4, "nyudv2", config__model__network__init_args__encoder_name="resnet18")
    (warning,) = build_report(table, "nyudv2", str(tmp_path), [0]).warnings
    assert warning == 'cascade_4 ran with encoder_name "resnet18", but the paper\'s table has "resnet50" (seed 0)'


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2}', '{"format": 1, "run": {"cell": "shallow"}}'])
def test_a_broken_record_is_named(table_file, tmp_path, capsys, content):
    run = RunId("scenes", "mine", "paper", 0, str(tmp_path))
    run.directory.mkdir(parents=True)
    run.results_file.write_text(content)
    with pytest.raises(RecordError, match="results.json"):
        build_report(read_table(table_file), "scenes", str(tmp_path), [0])
    assert ablate.run_command(["table", str(table_file), "--on", "scenes", "--root", str(tmp_path)]) == 2


def test_files_and_formats(table_file, tmp_path):
    table = read_table(table_file)
    for seed in (0, 1):
        record(table, "paper", seed, tmp_path, 0.4 + 0.01 * seed, "nyudv2")
        record(table, "shallow", seed, tmp_path, 0.35 - 0.01 * seed, "nyudv2")
    report = build_report(table, "nyudv2", str(tmp_path), [0, 1])
    files = write(report, tmp_path / "out")
    assert [file.name for file in files] == ["mine@nyudv2.md", "mine@nyudv2.csv", "mine@nyudv2.png"]
    rows = list(csv.DictReader(io.StringIO(files[1].read_text())))
    assert [row["cell"] for row in rows] == ["paper", "shallow", "middle"]
    assert float(rows[1]["miou_seed1"]) == pytest.approx(34.0)
    assert float(rows[1]["difference_mean"]) == pytest.approx(-6.0)
    assert (rows[0]["paper"], rows[2]["miou_mean"], rows[0]["difference_mean"]) == ("42.5", "", "")
    picture = Image.open(files[2])
    assert picture.format == "PNG"
    assert 1000 < picture.width < 2000 and 300 < picture.height < 2000
    assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    assert r"\toprule" in render(report, "latex") and r"$\pm$" in render(report, "latex")
    write(build_report(table, "empty", str(tmp_path), [0]), tmp_path / "out")  # nothing is there yet


def test_durations():
    assert [duration(s) for s in (0, 55.2, 59.6, 200, 3599.7, 7500)] == [
        "0 s", "55 s", "1 min 00 s", "3 min 20 s", "1 h 00 min", "2 h 05 min",
    ]  # fmt: skip
