"""Kept tables, the page of claims and recipes match the kept records."""

import json

import pytest
import yaml
from helpers.repository import REPOSITORY

from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.records import read_records
from refinenet_pl.ablation.rendering import render
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import find_recipe, find_table
from refinenet_pl.cli.recipes import with_bases
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.report.claims import page
from refinenet_pl.tracking.configuration import flatten

RESULTS = REPOSITORY / "experiments" / "results"
# Table and cell of each recipe's best run.
CAMVID = {"camvid": ("single", "paper"), "camvid_gpu": ("capacity", "lite2_enlarged")}


@pytest.mark.parametrize("group", sorted(path.parent.name for path in RESULTS.glob("*@*/*@*.md")))
def test_kept_table(group):
    name, recipe = group.split("@")
    records = read_records(RESULTS, group)
    table = read_table(find_table(name))
    cells = [cell for cell in table.cells if cell in {cell for cell, _ in records}]
    seeds = sorted({seed for _, seed in records})
    report = build_report(table, recipe, str(RESULTS), seeds, cells, reference=table.reference_among(cells))
    assert len(records) == len(cells) * len(seeds)
    for suffix, form in (".md", "markdown"), (".csv", "csv"):
        assert (RESULTS / group / f"{group}{suffix}").read_text() == render(report, form)


def test_kept_page_of_claims():
    assert (RESULTS / "README.md").read_text() == page(RESULTS), "run `refinenet claims`"


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*/records.jsonl")), ids=lambda file: file.parent.name)
def test_records_name_no_directory_of_the_machine(file):
    settings = [flatten(json.loads(line)["config"]) for line in file.read_text().splitlines()]
    assert settings and [value for held in settings for value in held.values() if str(value).startswith(("/", "~"))] == []


@pytest.mark.parametrize("recipe", CAMVID)
def test_recipe_matches_its_kept_run(recipe):
    table, cell = CAMVID[recipe]
    trained = flatten(read_records(RESULTS, f"{table}@{recipe}")[cell, 0]["config"])
    written = {}
    for file in with_bases(find_recipe(recipe)):
        written |= flatten(yaml.safe_load(file.read_text()))
    del written["base"]
    assert written["model.class_weights"] == "dataset"
    written["model.class_weights"] = list(find_dataset(written["data.dataset"]).class_weights)
    # The GPU had a copy of the images. Flipping was selected after training, which it does not affect.
    elsewhere = {"model.test_flip"} | ({"data.root"} if recipe == "camvid_gpu" else set())
    assert len(written) > 20
    assert {key: value for key, value in written.items() if trained[key] != value}.keys() <= elsewhere
