"""Content of the HTML report of networks that predict continuous values."""

import re

import numpy as np
import pytest
from helpers.tables import depth_records

from refinenet_pl.ablation.tables import read_table
from refinenet_pl.callbacks.sample_files import write_samples
from refinenet_pl.report.collect import collect
from refinenet_pl.report.page import build_page
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.visualization.sample import ValueSample


@pytest.fixture
def page(table_file, tmp_path) -> str:
    table, runs = read_table(table_file), tmp_path / "runs"
    depth_records(table, runs, paper=[0.20, 0.22], shallow=[0.23, 0.26])
    colored = np.full((10, 8, 3), 100, np.uint8)
    for cell in ("paper", "shallow"):
        directory = RunId("scenes_depth", table.name, cell, 0, str(runs)).directory
        write_samples(directory / "samples", [ValueSample("val_1", colored, colored, colored, colored)])
    return build_page(collect(runs, [str(table_file)], "val"), "A title")


def test_table_of_all_scores(page):
    (table,) = re.findall(r'aria-label="All scores">(.*?)</table>', page, re.DOTALL)
    assert re.findall(r"<button[^>]*>([^<]*)<", table)[:7] == [
        "network",
        "AbsRel",
        "SqRel",
        "RMSE",
        "RMSE log",
        "log10",
        "SILog",
    ]
    texts = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in table.partition("<tbody>")[2].split("<tr>")[1:]]
    assert texts == [
        ["the paper", "0.210", "–", "2.100", "–", "–", "–", "79.0", "–", "–"],
        ["shallow", "0.245", "–", "2.450", "–", "–", "–", "75.5", "–", "–"],
    ]
    assert '<td data-value="">–' in table and "Lower is better: AbsRel, SqRel, RMSE, RMSE log, log10, SILog." in page
    assert "IoU" not in page


def test_charts_name_score_and_direction(page):
    assert re.findall(r"<figcaption>([^<]*)</figcaption><svg", page) == [
        "Difference from the reference, with 95% confidence intervals", "AbsRel by epoch: mean and individual seeds",
        "AbsRel vs. parameters",
    ]  # fmt: skip
    assert page.count(">AbsRel on val (lower is better)</text>") == 2
    assert page.count(">difference in AbsRel (lower is better)</text>") == 1


def test_sample_images_have_errors_and_no_legend(page):
    shown = re.findall(r'<figure><img src="data:image/(\w+);[^"]*" alt="val_1: ([^"]*)">', page)
    labels = ["image", "ground truth", "the paper", "the paper: error", "shallow", "shallow: error"]
    assert shown == list(zip(["jpeg", *["png"] * 5], labels, strict=True))
    assert 'class="swatch"' not in page and page.count('class="legend"') == 1  # of the charts
