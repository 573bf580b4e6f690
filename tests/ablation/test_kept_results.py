"""No table without its records: those kept in experiments/results are what its records.jsonl give."""

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

RESULTS = REPOSITORY / "experiments" / "results"


@pytest.mark.parametrize("group", sorted(path.parent.name for path in RESULTS.glob("*@*/*@*.md")))
def test_a_kept_table_is_what_its_records_give(group):
    name, recipe = group.split("@")
    records = read_records(RESULTS, group)
    table = read_table(find_table(name))
    cells = [cell for cell in table.cells if cell in {cell for cell, _ in records}]
    seeds = sorted({seed for _, seed in records})
    report = build_report(table, recipe, str(RESULTS), seeds, cells, reference=table.reference_among(cells))
    assert len(records) == len(cells) * len(seeds)
    for suffix, form in (".md", "markdown"), (".csv", "csv"):
        assert (RESULTS / group / f"{group}{suffix}").read_text() == render(report, form)


# Of each recipe the run whose score is printed.
CAMVID = {"camvid": ("single", "paper"), "camvid_gpu": ("capacity", "lite2_enlarged")}


@pytest.mark.parametrize("recipe", CAMVID)
def test_a_recipe_with_a_printed_score_is_what_was_trained(recipe):
    def flat(values, prefix=""):
        for key, value in values.items():
            yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]

    table, cell = CAMVID[recipe]
    record = read_records(RESULTS, f"{table}@{recipe}")[cell, 0]
    written = {}
    for file in with_bases(find_recipe(recipe)):
        written |= dict(flat(yaml.safe_load(file.read_text())))
    del written["base"]
    assert written["model.class_weights"] == "dataset"
    written["model.class_weights"] = list(find_dataset(written["data.dataset"]).class_weights)
    trained = dict(flat(record["config"]))
    # The GPU had a copy of the images; the way of testing, chosen after training, changes no training.
    elsewhere = {"model.test_flip"} | ({"data.root"} if recipe == "camvid_gpu" else set())
    assert len(written) > 20
    assert {key: value for key, value in written.items() if trained[key] != value}.keys() <= elsewhere
