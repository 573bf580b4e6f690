"""Reports of runs that `--run.cell auto` named."""

from pathlib import Path

import pytest
import yaml
from helpers.tables import record, rows

from refinenet_pl.ablation.rendering import render
from refinenet_pl.ablation.table import Cell, Table
from refinenet_pl.report.collect import collect
from refinenet_pl.report.page import build_page
from refinenet_pl.tracking.identity import RunId

# Learning rate, number of pooling blocks, and mIoU of each seed by cell.
RUNS = {
    "default": (0.01, 4, [0.50, 0.52]), "a-00000001": (0.02, 4, [0.60, 0.62]), "b-00000002": (0.02, 2, [0.55, 0.53]),
    "c-00000003": (0.01, 2, []),
}  # fmt: skip
LABELS = [f"learning_rate {rate}, pooling_blocks {number}" for rate, number in ((0.02, 4), (0.02, 2), (0.01, 4), (0.01, 2))]


@pytest.fixture
def root(tmp_path) -> Path:
    """Finished runs, and one that was stopped in its first epoch."""
    names = ("model.learning_rate", "model.network.init_args.pooling_blocks")
    cells = {name: Cell(name, name, recipe=dict(zip(names, run[:2], strict=True))) for name, run in RUNS.items()}
    table = Table(tmp_path, "rates", "", "", "", "default", cells)
    for name, (_, _, scores) in RUNS.items():
        for seed, miou in enumerate(scores):
            record(table, name, seed, tmp_path, miou)
    stopped = RunId("scenes", "rates", "c-00000003", 0, str(tmp_path)).directory
    finished = RunId("scenes", "rates", "default", 0, str(tmp_path)).results_file
    config = yaml.safe_load(finished.read_text())["config"]
    config["model"]["network"]["init_args"]["pooling_blocks"] = 2
    stopped.mkdir(parents=True)
    (stopped / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_rows_are_labeled_by_parameters_and_sorted(root):
    (group,) = collect(root, [], "val")
    text = render(group.report)
    table = rows(text)[1:]
    assert [row[0] for row in table] == LABELS
    assert [row[1] for row in table] == ["61.0 ± 1.4", "54.0 ± 1.4", "51.0 ± 1.4", "missing"]
    assert table[2][3] == "reference" and "Warning" not in text
    page = build_page([group], "Sweep")
    assert all(page.count(label) > 1 for label in LABELS[:3])


def test_named_runs_keep_their_names(root):
    named = root / "rates@scenes/b-00000002"
    for file in named.glob("seed*/results.json"):
        file.write_text(file.read_text().replace("b-00000002", "mine"))
    named.rename(named.with_name("mine"))
    (group,) = collect(root / "rates@scenes", [], "val")
    assert [row.cell.label for row in group.report.rows] == [LABELS[0], "mine", *LABELS[2:]]


def test_damaged_configuration_is_named(root):
    file = root / "rates@scenes/c-00000003/seed0/config.yaml"
    file.write_text("[")
    with pytest.raises(ValueError, match=r"c-00000003/seed0/config\.yaml: cannot be read"):
        collect(root, [], "val")
