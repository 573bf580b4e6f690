"""View and report of a table in W&B, compared with a run that was logged to a server for the real client."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as views
from helpers import wandb_server
from helpers.running import SMALL, run

from refinenet_pl.cli.main import main
from refinenet_pl.datasets.scenes import Scenes

pytestmark = pytest.mark.integration

NAMES = ["--run.table=chained_pooling", "--run.cell=pool_conv_4"]
COMMAND = ["wandb", "workspace", "chained_pooling", "--on=scenes"]
SECTIONS = ["Scores", "Images", "Classes", "Training", "Dead ReLUs", "Speed and memory"]


@pytest.fixture(scope="module")
def server() -> Iterator[wandb_server.Server]:
    with wandb_server.serving() as server:
        yield server


@pytest.fixture(scope="module")
def logged(server, tmp_path_factory) -> dict[str, Any]:
    """A run of the table, as the server received it."""
    run(
        "fit",
        *SMALL,
        *NAMES,
        "--trainer.log_every_n_steps=1",
        f"--run.root={tmp_path_factory.mktemp('r')}",
        **server.environment,
    )
    (sent,) = server.runs.values()
    return sent


@pytest.fixture(scope="module")
def saved(server, logged) -> tuple[dict, dict, list[str]]:
    """Specs of the view and of the report, and their addresses, after the command has run twice."""
    first, second = (re.findall(r"(?:View|Report): (\S+)", run(*COMMAND, **server.environment)) for _ in range(2))
    assert first == second and len(first) == 2
    assert [view["type"] for view in server.views.stored.values()] == ["project-view", "runs"], "replaced, not added"
    view, report = (json.loads(view["spec"]) for view in server.views.stored.values())
    return view["section"], report, first


def walk(value: Any) -> Iterator[dict]:
    """All mappings in JSON data."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(part)


def panels(spec: dict, kind: str) -> list[dict]:
    return [found["config"] for found in walk(spec) if found.get("viewType") == kind]


def shown(spec: dict) -> set[str]:
    """Names of the values, media and tables that the panels of a view or a report show."""
    names = {name for part in walk(spec) for key in ("metrics", "mediaKeys") for name in part.get(key, [])}
    return names | {part["val"] for part in walk(spec) if part.get("nodeType") == "const" and part["type"] == "string"}


def by_section(view: dict) -> dict[str, dict]:
    return {section["name"]: section for section in view["panelBankConfig"]["sections"]}


def test_panels_show_names_that_runs_log(saved, logged):
    expected = {"train/loss", "val/loss", "val/miou", "val/boundary_miou", "val/miou_best", "samples", "val/confusion"}
    expected |= {"val/classes", "val/predictions", "speed/images_per_second"}
    expected |= {f"dead_relu/block_{number}" for number in (1, 2, 3, 4)} | {f"val_iou/{name}" for name in Scenes.classes.names}
    for spec in saved[:2]:
        assert expected <= shown(spec) <= logged["summary"].keys()


def test_curves_are_over_the_axis_that_they_are_logged_with(saved, logged):
    curves = panels(saved[0], "Run History Line Plot")
    axes = {name: curve["xAxis"] for curve in curves for name in curve["metrics"]}
    assert axes["train/loss"] == "trainer/global_step" and axes["val/miou"] == "epoch"
    assert [name for name, axis in axes.items() if not any({name, axis} <= row.keys() for row in logged["history"])] == []


def test_columns_are_scores_and_varied_options(saved, logged):
    config = json.loads(logged["config"])
    for spec in saved[:2]:
        (order,) = {tuple(part["columnOrder"]) for part in walk(spec) if "columnOrder" in part}
        assert order[:3] == ("run:displayName", "summary:val/miou_best", "summary:val/miou")
        options = [column.removeprefix("config:").split(".") for column in order if column.startswith("config:")]
        assert [path[-1] for path in options] == ["pooling_blocks", "pooling_relu", "pooling_order"]
        assert config["network"]["value"]["pooling_blocks"] == 4 and all(
            part in config[path[0]][path[1]] for *path, part in options
        )
        assert {column.partition(":")[2] for column in order if column.startswith("summary:")} <= logged["summary"].keys()


def test_runs_are_the_trainings_of_the_table_by_cell(saved, logged):
    for spec in saved[:2]:
        for runs in (found for part in walk(spec) for found in part.get("runSets", [])):
            found = {
                item["key"]["name"]: (item["key"]["section"], item["op"], item["value"]) for item in runs["filters"]["filters"]
            }
            assert found == {"group": ("run", "=", logged["groupName"]), "jobType": ("run", "=", logged["jobType"])}
            assert runs["grouping"] == [{"section": "config", "name": "cell.value"}]
            assert runs["sort"]["keys"] == [{"key": {"section": "summary", "name": "val/miou_best"}, "ascending": False}]
        for plot in panels(spec, "Run History Line Plot") + panels(spec, "Bar Chart"):
            assert (plot["groupBy"], plot["groupAgg"], plot["groupArea"]) == ("cell.value", "mean", "stddev")
    assert json.loads(logged["config"])["cell"]["value"] == "pool_conv_4"


def test_images_are_side_by_side(saved):
    images = [media for media in panels(saved[0], "Media Browser") if media["mediaKeys"] == ["samples"]]
    assert [(media["mode"], media["gridSettings"]) for media in images] == [("grid", {"xAxis": "run", "yAxis": "index"})]


def test_package_reads_them_back(saved, server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    view, report = views.Workspace.from_url(saved[2][0]), reports.Report.from_url(saved[2][1])
    assert view.name == "chained_pooling@scenes" and [section.name for section in view.sections] == SECTIONS
    assert view.runset_settings.groupby[0].name == "cell"
    assert report.title == "chained_pooling@scenes: Chained residual pooling, number of blocks and order of operations"
    assert report.description == "CVPR 2017, Table 2. Recipe: scenes."
    assert [block.text for block in report.blocks if isinstance(block, reports.H2)] == ["Cells", *SECTIONS]
    (cells,) = (block.text for block in report.blocks if isinstance(block, reports.MarkdownBlock))
    assert re.search(r"\| pool_conv_4 +\| 4 blocks, pooling first \(reference\) +\| `pooling_blocks=4` +\|", cells)
    grids = [block for block in report.blocks if isinstance(block, reports.PanelGrid)]
    sections = [[type(panel) for panel in section.panels] for section in view.sections]
    assert [[type(panel) for panel in grid.panels] for grid in grids] == sections
    assert {(grid.runsets[0].entity, grid.runsets[0].project) for grid in grids} == {("team", "refinenet_pl")}
    assert [grid.hide_run_sets for grid in grids] == [False] + [True] * (len(grids) - 1), "the table of runs is shown once"


def dry_run(capsys, table: str, recipe: str) -> tuple[dict, dict]:
    main(["wandb", "workspace", table, f"--on={recipe}", "--dry_run"])
    printed = json.loads(capsys.readouterr().out)
    return printed["view"]["section"], printed["report"]


def test_dry_run_needs_no_server_and_no_run(capsys, saved):
    view, report = dry_run(capsys, "chained_pooling", "scenes")
    assert list(by_section(view)) == SECTIONS
    assert shown(view) == shown(report) <= shown(saved[0])
    assert view["runSets"][0]["filters"] == saved[0]["runSets"][0]["filters"]
    patterns = [plot["metricRegex"] for plot in panels(view, "Run History Line Plot") if plot.get("useMetricRegex")]
    others = shown(saved[0]) - shown(view)
    assert others and all(any(re.match(pattern, name) for pattern in patterns) for name in others)


def test_depth(capsys):
    view, _ = dry_run(capsys, "cascade", "scenes_depth")
    assert list(by_section(view)) == [title for title in SECTIONS if title != "Classes"]
    assert panels(by_section(view)["Scores"], "Bar Chart")[0]["metrics"] == ["val/abs_rel_best"]
    assert view["runSets"][0]["sort"]["keys"][0]["ascending"] is True, "the lowest error first"


def test_scores_of_the_paper_and_other_networks(capsys):
    _, report = dry_run(capsys, "cascade", "nyudv2")
    (cells,) = (block["content"] for block in report["blocks"] if block["type"] == "markdown-block")
    assert re.search(r"\| cascade_4 +\| 4 blocks \(reference\) +\| +\| 42.5 +\|", cells)
    view, _ = dry_run(capsys, "peers", "scenes")
    assert "config:network.value.class" in view["runSets"][0]["runFeed"]["columnOrder"]


def test_classes_of_many_have_no_bars_before_the_first_run(capsys):
    view, _ = dry_run(capsys, "cascade", "ade20k")  # only the rarest of its 150 classes are logged
    classes = by_section(view)["Classes"]
    assert panels(classes, "Bar Chart") == [] and shown(classes) == {"val/classes", "val/confusion"}


def error(capsys, *options: str) -> str:
    """The only line of the error message of the command."""
    with pytest.raises(SystemExit) as exit_:
        main(["wandb", "workspace", *options])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_errors_name_the_fix(capsys, monkeypatch, tmp_path):
    assert error(capsys, "none", "--on=scenes").startswith("error: no table 'none'")
    assert "WANDB_MODE is disabled; unset it" in error(capsys, *COMMAND[2:])
    recipe = tmp_path / "rate=0.1.yaml"
    recipe.write_text("data: {dataset: scenes}")
    assert "rename the file" in error(capsys, "cascade", f"--on={recipe}", "--dry_run")
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert 'pip install "refinenet_pl[wandb]"' in error(capsys, *COMMAND[2:], "--dry_run")


def test_errors_of_the_server(server, tmp_path: Path):
    """In processes of their own, because W&B keeps the first login of a process."""
    output = run(*COMMAND, "--project=team/other", code=2, **server.environment)
    assert output.startswith("error: W&B: project team/other: Could not find project other; check the name")
    output = run(*COMMAND, "--project=other", code=2, **server.environment)
    assert output == "error: project 'other' does not have the form ENTITY/PROJECT; use --project ENTITY/PROJECT\n"
    nobody = {**server.environment, "WANDB_API_KEY": None, "HOME": str(tmp_path)}
    assert run(*COMMAND, code=2, **nobody).startswith("error: not logged in to W&B; run wandb login or set WANDB_API_KEY")
    gone = {**server.environment, "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_HTTP_TIMEOUT": "2"}
    (line,) = run(*COMMAND, code=2, **gone).splitlines()
    assert line.startswith("error: W&B: login: ") and "wandb login" in line
