"""Table files, the subcommands that read them, and their figures."""

import csv
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.repository import program
from helpers.tables import TABLE, record, records, rows
from PIL import Image

from refinenet_pl.ablation import plan
from refinenet_pl.ablation.arguments import network_arguments
from refinenet_pl.ablation.figures import Report, build_report
from refinenet_pl.ablation.records import find_seeds
from refinenet_pl.ablation.rendering import MINUS, duration, render, write
from refinenet_pl.ablation.significance import compare, holm
from refinenet_pl.ablation.table import Table, TableError
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_table, names
from refinenet_pl.cli import ablate

CLAIMED = TABLE + "claims: [{claim: A., effect: {paper: 1, shallow: -1}, expects: more}]\n"
CASCADE = "network: {cascade: 2}"

# CVPR 2017, single-scale rows of Table 2, and of Table 9 on NYUDv2: encoder, pooling blocks, cascade, scales, mIoU.
PRINTED = {
    ("nyudv2", "resnet50", 0, 4, 1, 40.4), ("nyudv2", "resnet50", 2, 4, 1, 42.5), ("nyudv2", "resnet101", 2, 4, 1, 43.6),
    ("nyudv2", "resnet50", 2, 1, 1, 40.3), ("nyudv2", "resnet50", 2, 2, 1, 40.9), ("nyudv2", "resnet50", 2, 4, 2, 43.1),
    ("person_part", "resnet50", 0, 4, 1, 64.1), ("person_part", "resnet50", 4, 4, 1, 65.7),
    ("person_part", "resnet101", 4, 4, 1, 67.6),
}  # fmt: skip


@pytest.fixture
def table(table_file) -> Table:
    return read_table(table_file)


def report_of(table: Table, root: Path, seeds=(0,), cells=None, recipe="scenes", **options) -> Report:
    return build_report(table, recipe, str(root), list(seeds), cells, **options)


@pytest.mark.parametrize(
    "old, new, words",
    [
        (CLAIMED, "", "must be a mapping"),
        ("cells:", "cells: [", "mine.yaml"),
        ("title: A title\n", "", "title: is missing"),
        ("title: A title", "title:", "title: must be text"),
        ("title: A title", "titel: A title", "titel: unknown key"),
        ("title: A title", "title: A title\ntitle: B", "duplicate key 'title'"),
        ("reference: paper", "reference: papper", "reference: no cell 'papper'"),
        ("  middle:", "  off:", "False is not a name"),
        ("  middle:", "  a/b:", "'a/b' is not a name"),
        (CASCADE, "network: {cascades: 2}", "cells.middle.network.cascades: unknown key"),
        (CASCADE, "networks: {}", "cells.middle.networks: unknown key"),
        (CASCADE, "network: 2", "cells.middle.network: must be a mapping"),
        (CASCADE, "network: {}, network_class: a.B", "cells.middle.network: contains arguments of RefineNet"),
        (CASCADE, "recipe: {crop_size: 2}", "cells.middle.recipe.crop_size: must be a key of trainer, model or data"),
        (CASCADE, "recipe: {model.network.init_args.cascade: 2}", "cascade: other cells vary this as cascade"),
        (CASCADE, "network: {cascade: 1}", "cells.middle: same network and training as the cell shallow"),
        (CASCADE, "network: {cascade: 4}", "cells.middle: same network and training as the cell paper"),
        (CASCADE, "network: {encoder_name: resnet18}", "cells.paper: encoder_name is missing"),
        ("{paper: 42.5}", "{papper: 42.5}", "published.nyudv2.papper: no such cell"),
        ("{paper: 42.5}", "{paper: 0.425}", "published.nyudv2.paper: must be an mIoU in percent"),
        ("published:", "settings: {nyudv2: {cascade: 4}}\npublished:", "settings.nyudv2.cascade: the cells vary this"),
        ("published:", "settings: {nyudv2: {blocks: 4}}\npublished:", "settings.nyudv2.blocks: unknown key"),
        ("published:", "published_multi_scale:", "published_multi_scale: requires multi_scale"),
        ("published:", "multi_scale: [1.0]\npublished:", "multi_scale: must be a list of two or more scales"),
        ("[{claim: A., effect: {paper: 1, shallow: -1}, expects: more}]", "{}", "claims: must be a list"),
        ("claim: A.,", "claim: A., table: mine,", "claims.0.table: unknown key"),
        ("expects: more", "expects: less", "claims.0.expects: must be one of more, equal, not 'less'"),
        ("claim: A.,", "claim: A., score: iou,", "claims.0.score: must be one of miou, pixel_accuracy, "),
        ("claim: A.,", "claim: A., minus: miou,", "claims.0.minus: requires score"),
        (
            "claim: A.,",
            "claim: A., score: abs_rel, minus: mean_angle,",
            "minus: must have the unit and direction of abs_rel: use",
        ),
        ("claim: A.,", "claim: A., score: pck_5, minus: abs_rel,", "use one of miou, pixel_accuracy, "),
        ("shallow: -1", "shallow: -2", "claims.0.effect: weights must sum to 0"),
        ("shallow: -1", "shallow: less", "claims.0.effect.shallow: must be a number, not 'less'"),
        ("shallow: -1", "deep: -1", "claims.0.effect.deep: no such cell; use one of paper, shallow, middle"),
        ("claim: A.,", "claim: A., paper: {nyudv2: {paper: 1}},", "claims.0.paper.nyudv2: weights must sum to 0"),
        ("claim: A.,", "claim: A., paper: {nyudv2: {paper: 1, deep: -1}},", "claims.0.paper.nyudv2.deep: no such cell"),
    ],
)
def test_invalid_table(table_file, old, new, words):
    assert old in CLAIMED
    table_file.write_text(CLAIMED.replace(old, new))
    with pytest.raises(TableError) as error:
        read_table(table_file)
    assert str(table_file) in str(error.value) and words in str(error.value)


def test_claims_and_merged_recipes(table_file):
    shared = "recipe: &shared {data.crop_size: [64, 96], data.global_batch: 4}"
    content = CLAIMED.replace("network: {cascade: 1}", shared)
    table_file.write_text(content.replace(CASCADE, "recipe: {<<: *shared, data.global_batch: 8}"))
    table = read_table(table_file)
    assert table.cells["middle"].recipe == {"data.crop_size": [64, 96], "data.global_batch": 8}
    (claim,) = table.claims
    assert (claim.claim, claim.table, claim.effect) == ("A.", "mine", {"paper": 1, "shallow": -1})


def test_paper_values():
    settings = network_arguments()
    defaults = {argument: setting.paper for argument, setting in settings.items()}
    paper = {"cascade": 4, "width": 256, "pooling_blocks": 4, "image_scales": (1.0,), "shortcut": "identity"}
    assert paper.items() <= defaults.items()
    assert {name for name, setting in settings.items() if not setting.has_paper_value} == {"encoder_name", "encoder_weights"}
    assert not settings.keys() & {"classes", "in_channels"}
    others = {"path_rcus": 2, "output_rcus": 1, "head_rcus": 2, "pooling_relu": True, "pooling_order": "pool_conv"}
    tables, published = [read_table(find_table(name)) for name in names(TABLES)], set()
    for table in tables:
        for recipe, figures in table.published.items():
            for cell, figure in figures.items():
                network = defaults | table.settings[recipe] | table.cells[cell].network
                assert others.items() <= network.items()
                cascade = network["pooling_blocks"], network["cascade"], len(network["image_scales"])
                published.add((recipe, network["encoder_name"], *cascade, figure))
    assert published == PRINTED
    (table,) = (table for table in tables if table.published_multi_scale)
    assert table.name == "initialization" and table.multi_scale == [0.4, 0.6, 0.8, 1.0, 1.2]
    assert table.published_multi_scale == {
        "nyudv2": {"resnet50": 43.8, "resnet101": 44.7, "resnet152": 46.5},
        "person_part": {"resnet50": 67.1, "resnet101": 68.6, "resnet152": 68.8},
    }


def test_settings_of_the_papers_table(tmp_path):
    table, network = read_table(find_table("cascade")), "--model.network.init_args"
    own = [f"{network}.cascade=2", f"{network}.image_scales=[1.0]"]
    assert plan.cell_options(table, "cascade_2", "scenes") == own
    papers = [f"{network}.encoder_name=resnet50", f"{network}.pooling_blocks=2"]
    assert plan.cell_options(table, "cascade_2", "nyudv2") == [*papers, *own]
    record(table, "cascade_4", 0, tmp_path, 0.4, "nyudv2", config__model__network__init_args__encoder_name="resnet18")
    (warning,) = report_of(table, tmp_path, recipe="nyudv2").warnings
    assert 'cascade_4 ran with encoder_name "resnet18"' in warning


def test_commands(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my own.yaml").write_text("{}")
    words = ["commands", "cascade", "--on", "my own.yaml", "--seeds", "2", "--cells", "cascade_4", "cascade_1", "--root", "a b"]
    assert ablate.run_command([*words, "--", "--trainer.max_epochs=1", "--x", "y z"]) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    start = ["refinenet", "fit", "-c", "my own.yaml", "--run.table", "cascade", "--run.root", "a b", "--run.cell"]
    more = ["--trainer.max_epochs=1", "--x", "y z"]
    cells = ["cascade_1", "cascade_4"]
    assert lines == [[*start, cell, "--seed_everything", seed, *more] for seed in "01" for cell in cells]


@pytest.mark.parametrize("name", names(TABLES))
def test_cell_options_parse_back(name):
    table, seen = read_table(find_table(name)), []
    for cell in table.cells.values():
        options = (option.removeprefix("--").split("=", 1) for option in plan.cell_options(table, cell.name, "mine"))
        parsed = {key: yaml.safe_load(value) for key, value in options}
        network = {f"model.network.init_args.{argument}": value for argument, value in cell.network.items()}
        task = {f"model.{argument}": value for argument, value in cell.task.items()}
        assert (network | task | cell.recipe).items() <= parsed.items() and parsed not in seen
        if cell.network_class:
            assert parsed == {"model.network": cell.network_class} | cell.recipe
        else:
            assert len(parsed) == len(table.varied) + len(cell.recipe) + 2 * bool(table.multi_scale)
        seen.append(parsed)


@pytest.mark.parametrize(
    "given, words",
    [
        ("commands nothing --on camvid --seeds 1", "no table 'nothing'"),
        ("commands cascade --on nothing --seeds 1", "no recipe 'nothing'"),
        ("commands cascade --on camvid --seeds 1 --cells x", "cascade has no cell x; it has cascade_1"),
        ("table cascade --on camvid -- --x", "no options after --"),
        ("run cascade --on camvid --seeds 0", "seeds"),
        ("run cascade --on camvid --seeds 1 --reuse true", "put options of the training last, after --"),
    ],
)
def test_invalid_command_line(capsys, given, words):
    try:
        code = ablate.run_command(given.split())
    except SystemExit as end:
        code = end.code
    assert code == 2 and words in capsys.readouterr().err


def test_list(capsys):
    assert ablate.run_command(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*names(TABLES), "camvid"])
    assert ablate.run_command(["list", "peers"]) == 0
    assert "refinenet_pl.models.baselines.FPN" in capsys.readouterr().out


def test_figures(table, tmp_path):
    records(table, tmp_path, paper=[0.60, 0.64, 0.62], shallow=[0.50, 0.55, 0.57])
    record(table, "paper", 2, tmp_path, 0.62, training__seconds=480.0)
    report = report_of(table, tmp_path, range(3))
    assert report.warnings == report.missing == []
    markdown, csv_file, png = write(report, tmp_path / "out")
    assert rows(markdown.read_text()) == [
        ["network", "mIoU %", "seeds", "difference", "significant", "parameters", "training"],
        ["the paper", "62.0 ± 2.0", "3/3", "reference", "", "1.23 M", "3 min 20 s"],
        ["shallow", "54.0 ± 3.6", "3/3", f"{MINUS}8.0 ± 2.6", "yes, p = 0.035", "1.23 M", "1 min 00 s"],
        ["middle", "missing", "0/3", "", "", "", ""],
    ]
    assert "0123456789" in markdown.read_text() and "CPU, 2 threads" in markdown.read_text()
    reference, row, missing = csv.DictReader(csv_file.open())
    # The paired differences are -10, -9 and -5; 4.303 is the 97.5% quantile of Student's t with two degrees of freedom.
    expected = {"miou_mean": 54, "miou_sd": 13**0.5, "miou_seed1": 55, "difference_mean": -8, "difference_sd": 7**0.5}
    expected |= {"difference_low": -8 - 4.3027 * (7 / 3) ** 0.5, "difference_high": -8 + 4.3027 * (7 / 3) ** 0.5}
    assert {key: float(row[key]) for key in expected} == pytest.approx(expected, abs=1e-3) and "paper" not in row
    assert (reference["difference_mean"], missing["cell"], missing["miou_mean"]) == ("", "middle", "")
    image = Image.open(png)
    assert 1000 < image.width < 2000 and len(image.convert("RGB").getcolors(1 << 20)) > 20
    write(report_of(table, tmp_path, recipe="empty"), tmp_path / "out")


def test_cell_with_another_network(tmp_path):
    table = read_table(find_table("peers"))
    fpn = table.cells["fpn"].network_class
    config = {"class_path": fpn, "init_args": {"decoder_pyramid_channels": 256}}
    records(table, tmp_path, refinenet=[0.6], light_weight=[0.6])
    record(table, "fpn", 0, tmp_path, 0.6, config__model__network=config)
    assert report_of(table, tmp_path, cells=["refinenet", "light_weight", "fpn"]).warnings == []
    record(table, "refinenet", 0, tmp_path, 0.6, config__model__network__init_args__width=128)
    record(table, "fpn", 0, tmp_path, 0.6, config__model__network=config | {"class_path": "smp.Unet"})
    warnings = " ".join(report_of(table, tmp_path).warnings)
    assert "fpn ran with the network smp.Unet" in warnings and "model.network.init_args.width" in warnings


def test_cell_with_another_recipe_value(table_file, tmp_path):
    table_file.write_text(TABLE.replace(CASCADE, "recipe: {data.crop_size: [64, 96]}"))
    table = read_table(table_file)
    for cell, size in ("paper", [64, 64]), ("middle", [64, 96]):
        record(table, cell, 0, tmp_path, 0.6, config__data__crop_size=size)
    assert report_of(table, tmp_path).warnings == []
    record(table, "middle", 0, tmp_path, 0.6, config__data__crop_size=[64, 97])
    (warning,) = report_of(table, tmp_path).warnings
    assert "middle ran with data.crop_size [64, 97]" in warning


@pytest.mark.parametrize(
    "resolved, warned",
    [
        ([{"class_path": "a.b.Average", "init_args": {"decay": 0.99, "device": None}}], False),
        ([{"class_path": "a.b.Average", "init_args": {"decay": 0.9, "device": None}}], True),
        ([{"class_path": "a.b.AnAverage", "init_args": {"decay": 0.99}}], True),
        ([], True),
        (None, True),
    ],
)
@pytest.mark.parametrize("name", ["a.b.Average", "Average"])
def test_cell_with_an_object_and_some_of_its_arguments(table_file, tmp_path, name, resolved, warned):
    callback = f"{{class_path: {name}, init_args: {{decay: 0.99}}}}"
    table_file.write_text(TABLE.replace(CASCADE, f"recipe: {{trainer.callbacks: [{callback}]}}"))
    table = read_table(table_file)
    record(table, "middle", 0, tmp_path, 0.6, config__trainer__callbacks=resolved)
    warnings = report_of(table, tmp_path, cells=["middle"]).warnings
    assert [warning.startswith("middle ran with trainer.callbacks") for warning in warnings] == [True] * warned


def test_partial_seeds_other_split_and_reference(table, tmp_path):
    records(table, tmp_path, paper=[0.6], shallow=[0.5, 0.7])
    record(table, "middle", 1, tmp_path, None)
    (tmp_path / "mine@scenes/paper/seed1").mkdir()
    assert find_seeds(table, "scenes", str(tmp_path)) == [0, 1]
    text = render(report_of(table, tmp_path, [0, 1]))
    _, paper, shallow, _ = rows(text)
    assert paper[:3] == ["the paper", "60.0", "1/2"]
    assert shallow[1:5] == ["60.0 ± 14.1", "2/2", f"{MINUS}10.0 (1 of 2)", "needs two seeds"]
    assert "paper-seed1 has not started" in text and "middle-seed1 has no mIoU on val" in text
    (row,) = report_of(table, tmp_path, cells=["paper"], split="test", reference="shallow").rows
    assert (row.score.mean, row.difference.mean) == pytest.approx((30, 5))
    with pytest.raises(TableError, match="no cell nothing"):
        report_of(table, tmp_path, reference="nothing")


def test_significance():
    # Holm multiplies p of 0.01, 0.02 and 0.03 by 3, 2 and 1, and keeps the order.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []
    clear, noise, one, equal = compare([[5.0, 5.1, 4.9], [1.0, -1.0, 0.5], [7.0], [0.0, 0.0]])
    assert clear.is_shown and not noise.is_shown and one is None and not equal.is_shown
    assert clear.p < clear.adjusted_p == pytest.approx(3 * clear.p)
    # The family-wise error rate is 5%: of 400 tables with nine rows and three seeds, about 20 have a significant row.
    noise = np.random.default_rng(0).normal(size=(400, 9, 3))
    assert 4 < sum(any(row.is_shown for row in compare(table)) for table in noise) < 32


@pytest.mark.parametrize("name", names(TABLES))
def test_latex_compiles(name, tmp_path):
    pdflatex = program("pdflatex", "texlive-latex-recommended")
    table = read_table(find_table(name))
    recipe = next(iter(table.published), "scenes")
    for place, cell in enumerate(list(table.cells)[1:]):
        scores = [0.4 + 0.01 * place + 0.001 * seed**2 * (-1) ** place + 0.003 * seed for seed in range(3)]
        records(table, tmp_path, recipe, **{cell: scores})
    text = render(report_of(table, tmp_path, range(3), recipe=recipe), "latex")
    assert text.count("toprule") == 1 and "missing" in text and r"$\pm$" in text
    page = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{text}\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(page, encoding="utf-8")
    command = [pdflatex, "-halt-on-error", "-interaction=nonstopmode", "table.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0 and "Missing character" not in made.stdout, made.stdout[-2000:]


def test_columns_of_the_paper_and_other_scores(table_file, tmp_path, capsys):
    table_file.write_text(TABLE + "multi_scale: [0.5, 1.0]\npublished_multi_scale: {nyudv2: {paper: 43.8}}\n")
    table, out = read_table(table_file), tmp_path / "out"
    options = plan.cell_options(table, "paper", "scenes")
    assert {"--model.test_scales=[0.5,1.0]", "--model.test_flip=false"} <= set(options)
    scores = {"val": {"miou": 0.4, "boundary_miou": 0.3}, "val, multi-scale": {"miou": 0.43, "boundary_miou": 0.33}}
    record(table, "paper", 0, tmp_path, 0.4, "nyudv2", evaluations=scores)
    record(table, "shallow", 0, tmp_path, 0.3, "nyudv2")
    words = ["table", str(table_file), "--on", "nyudv2.yaml", "--root", str(tmp_path), "--output", str(out)]
    for score, header, paper, shallow in (
        ("miou", "mIoU %/paper %/multi-scale %/paper, multi-scale %", "40.0/42.5/43.0/43.8", "30.0//missing/"),
        ("boundary_miou", "boundary mIoU %/multi-scale %", "30.0/33.0", "missing/missing"),
    ):
        assert ablate.run_command([*words, "--score", score]) == 0
        printed = capsys.readouterr().out
        assert ["/".join([row[1], *row[5:-2]]) for row in rows(printed)[:3]] == [header, paper, shallow]
        assert "shallow-seed0 has no " in printed
    plain, boundary = (next(csv.DictReader((out / f"mine@nyudv2{end}.csv").open())) for end in ("", "-boundary_miou"))
    assert [plain[key] for key in ("paper", "multi_scale_mean", "paper_multi_scale")] == ["42.5", "43", "43.8"]
    assert boundary["boundary_miou_mean"] == "30" and "paper" not in boundary


@pytest.mark.parametrize(
    "change, words",
    [
        ({"config__model__network__init_args__width": 64}, "width: 256 (paper seed 0, paper seed 1); 64 (shallow seed 0)"),
        ({"config__data__crop": [8, 8]}, "the runs differ in data.crop"),
        ({"git__revision": "fedcba"}, "the runs differ in git revision"),
        ({"git__dirty": True}, "the runs differ in uncommitted changes"),
        ({"device": "H100"}, "the runs differ in device"),
        ({"versions__torch": "2.0"}, "the runs differ in version of torch"),
        ({"config__model__network__init_args__cascade": 3}, "shallow ran with cascade 3, but the table has 1 (seed 0)"),
        ({"evaluations__val__limit_batches": 2}, "only part of the split val was scored (limit_val_batches): shallow seed 0"),
        ({"config__track": "csv"}, None),
    ],
)
def test_warnings(table, tmp_path, change, words):
    records(table, tmp_path, paper=[0.6, 0.6])
    record(table, "shallow", 0, tmp_path, 0.6, **change)
    report = report_of(table, tmp_path, [0, 1])
    assert len(report.warnings) == (words is not None) == render(report).count("**Warning:**")
    assert words is None or words in report.warnings[0]


def test_durations():
    expected = {0: "0 s", 55.2: "55 s", 59.6: "1 min 00 s", 200: "3 min 20 s", 3599.7: "1 h 00 min", 7500: "2 h 05 min"}
    assert {seconds: duration(seconds) for seconds in expected} == expected
