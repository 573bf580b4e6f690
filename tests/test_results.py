"""No figure without its record: what the README and the kept tables print comes out of the results.json files beside them."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from conftest import REPOSITORY

from benchmarks import changes, evaluation_memory, processes, tables
from benchmarks import run as benchmark
from refinenet_pl.ablation.claims import effects, read_claims
from refinenet_pl.ablation.records import build_report
from refinenet_pl.ablation.rendering import render
from refinenet_pl.ablation.silence import LEAST_SHARE
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import RECIPES, find_table
from refinenet_pl.models.describe import describe
from refinenet_pl.models.refinenet import RefineNet

RESULTS = REPOSITORY / "experiments" / "results"
README = (REPOSITORY / "README.md").read_text()
TEXT = " ".join(README.split())  # wherever its lines break


@pytest.mark.parametrize("group", sorted(path.parent.name for path in RESULTS.glob("*/*@*.md")))
def test_a_kept_table_is_what_its_records_give(group):
    name, recipe = group.split("@")
    records = [json.loads(file.read_text())["run"] for file in (RESULTS / group).glob("*/seed*/results.json")]
    table = read_table(find_table(name))
    cells = [cell for cell in table.cells if cell in {run["cell"] for run in records}]
    seeds = sorted({run["seed"] for run in records})
    report = build_report(table, recipe, str(RESULTS), seeds, cells, reference=table.reference_among(cells))
    assert len(records) == len(cells) * len(seeds)
    for suffix, form in (".md", "markdown"), (".csv", "csv"):
        assert (RESULTS / group / f"{group}{suffix}").read_text() == render(report, form)


@pytest.mark.parametrize(
    ("group", "rows"),
    [
        ("chained_pooling@scenes", 10),
        ("chained_pooling@camvid_half", 6),
        ("peers@camvid_half", 8),
        ("training@camvid", 16),
        ("capacity@camvid_gpu", 6),
    ],
)
def test_the_readme_prints_tables_as_they_are_kept(group, rows):
    kept = (RESULTS / group / f"{group}.md").read_text()
    lines = [line for line in kept.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + rows and "\n".join(lines) in README


# In the order in which the difference is above 0.
BORDERS = {"camvid_half": ("cascade_4", "cascade_1"), "scenes": ("cascade_1", "cascade_4")}


def mean(recipe, name, *cells, score="miou"):
    """Mean score of a cell, or by how much that of the first is more than that of the second, in points, as printed."""
    first, *second = (
        np.array([100 * run["evaluations"]["val"][score] for run in runs_of_cell(recipe, name, cell)]) for cell in cells
    )
    return f"{(first - sum(second)).mean():.1f}".replace("-", "\N{MINUS SIGN}")


def runs_of_cell(recipe, name, cell):
    files = sorted((RESULTS / f"{name}@{recipe}" / cell).glob("seed*/results.json"))
    assert len(files) >= 3
    return [json.loads(file.read_text()) for file in files]


def test_what_the_readme_says_of_the_tables_is_what_they_give():

    def both(name, *cells):
        return f"{mean('camvid_half', name, *cells)} and {mean('scenes', name, *cells)}"

    assert f"leaving out all of them costs {both('rcu_removal', 'paper', 'no_rcus')}, those on the paths alone " in TEXT
    assert f"those on the paths alone {both('rcu_removal', 'paper', 'no_path_rcus')}." in TEXT
    assert f"by ReLUs, by {both('relu_placement', 'paper', 'relu_shortcut')}." in TEXT
    assert f"The ReLU before pooling costs {both('relu_placement', 'no_pooling_relu', 'paper')}." in TEXT
    assert f"costs Scenes' network {mean('scenes', 'learning_rate_sensitivity', 'relu_x1', 'relu_x3')} with it" in TEXT
    assert float(mean("scenes", "learning_rate_sensitivity", "no_relu_x3", "no_relu_x1")) > 0, "nothing without"
    one, two, four = (
        " and ".join(mean(recipe, "cascade", f"cascade_{number}") for recipe in ("camvid_half", "scenes"))
        for number in (1, 2, 4)
    )
    assert f"scores {one.replace(' and', ' % and')}, two score {two}, four {four}." in TEXT
    sharper = [mean(recipe, "cascade", *pair, score="boundary_miou") for recipe, pair in BORDERS.items()]
    assert f"Along borders alone four score {sharper[0]} more than one on CamVid, and {sharper[1]} less on Scenes." in TEXT
    assert f"ImageNet weights are worth {mean('scenes', 'initialization', 'lite0', 'lite0_random')} on Scenes." in TEXT
    steps = {run["training"]["steps"] for run in runs_of_cell("camvid_half", "chained_pooling", "pool_conv_4")}
    assert steps == {2196} and "train for 2,196 steps of two crops" in TEXT


def test_what_the_readme_says_of_other_networks_is_what_the_tables_give():
    scores = {cell: float(mean("camvid_half", "peers", cell)) for cell in read_table(find_table("peers")).cells}
    assert "smp's FPN scores most" in TEXT and max(scores, key=scores.get) == "fpn"
    assert "more than DeepLabV3+, U-Net, PSPNet and Light-Weight RefineNet." in TEXT
    assert scores["refinenet"] > max(scores[lower] for lower in ("deeplabv3plus", "unet", "pspnet", "light_weight"))
    assert f"{mean('camvid_half', 'peers', 'fpn', 'refinenet')} more than RefineNet as the recipe has it" in TEXT
    assert (
        f"and {mean('camvid_half', 'peers', 'fpn', 'refinenet_no_relu')} more than RefineNet of as many parameters without"
        in TEXT
    )
    seconds = [sum(run["training"]["seconds"] for run in runs_of_cell("camvid_half", "peers", n)) for n in ("refinenet", "fpn")]
    assert f"trains in {seconds[0] / seconds[1]:.2f} of its time" in TEXT
    assert f"RefineNet scores {mean('scenes', 'peers', 'fpn', 'refinenet')} less than FPN" in TEXT
    assert f"of as many parameters {mean('scenes', 'peers', 'fpn', 'refinenet_wide')} less" in TEXT
    assert f"but without that ReLU {mean('scenes', 'peers', 'refinenet_no_relu', 'fpn')} more" in TEXT
    silent = {
        recipe: [run["pooling_activity"][0] <= LEAST_SHARE for run in runs_of_cell(recipe, "peers", "refinenet_wide")]
        for recipe in ("scenes", "camvid_half")
    }
    assert "in four of five runs there and in all three on CamVid" in TEXT
    assert (sum(silent["scenes"]), len(silent["scenes"])) == (4, 5) and silent["camvid_half"] == [True] * 3


def shown(recipe, family, *names):
    """The claims that are more than noise among all of their family."""
    claims, margin = read_claims()
    held = [effect for effect in effects(claims, margin, recipe, RESULTS) if effect.claim.family == family]
    return {e.claim.claim for e in held if e.significance.is_shown and (not names or e.claim.table in names)}


def test_what_the_readme_calls_more_than_noise_for_all_claims_together_is():
    assert "Of these only shortcuts, sensitivity, two blocks in the cascade and weights are more than noise" in TEXT
    others = "rcu_removal", "relu_placement", "learning_rate_sensitivity", "cascade", "initialization"
    assert shown("camvid_half", "claims", *others) == set()
    assert shown("scenes", "claims", *others) == {
        "Identity shortcuts, free of ReLUs, are better than blocked ones",
        "The ReLU before pooling makes training less sensitive to the learning rate",
        "Two blocks in the cascade are better than one",
        "ImageNet weights raise the IoU",
    }
    assert "None of it is more than noise for all seven questions together" in TEXT
    assert shown("camvid_half", "questions") == set()
    assert {claim for claim in shown("scenes", "questions") if "FPN" in claim} == {
        "RefineNet is better than smp's FPN",
        "RefineNet of as many parameters is better than smp's FPN",
        "RefineNet of as many, without the ReLU before pooling, is better than smp's FPN",
    }


def test_what_the_readme_says_of_the_table_on_scenes_is_what_it_gives():
    rows = build_report(read_table(find_table("chained_pooling")), "scenes", str(RESULTS), range(5)).rows
    means = {row.cell.name: row.score.mean for row in rows}
    orders = [[mean for cell, mean in means.items() if cell.startswith(order)] for order in ("pool_conv", "conv_pool")]
    assert min(means["no_unit"], means["no_pooling"]) > max(orders[1]) and min(orders[1]) > max(orders[0])
    records = [record for row in rows for record in row.records.values()]
    assert all(share > LEAST_SHARE for record in records for share in record["pooling_activity"]), "each block takes part"
    assert f"seeds are {sum(record['training']['seconds'] for record in records) / 2 / 60:.0f} minutes of training" in README


def test_the_full_network_neither_fails_nor_saturates_on_the_quick_recipe():
    files = (RESULTS / "chained_pooling@scenes" / "pool_conv_4").glob("seed*/results.json")
    scores = [json.loads(file.read_text())["evaluations"]["val"]["miou"] for file in files]
    assert len(scores) == 5 and all(0.5 < score < 0.9 for score in scores)


# Of each recipe the record, what the README calls its machine, and the checkpoint that was scored.
CAMVID = {
    "camvid": ("single@camvid/paper", "two CPU cores", "best.ckpt"),
    "camvid_gpu": ("capacity@camvid_gpu/lite2_enlarged", "one GPU", "best-float16.ckpt"),
}


def camvid_record(recipe):
    return json.loads((RESULTS / CAMVID[recipe][0] / "seed0" / "results.json").read_text())


@pytest.mark.parametrize("recipe", CAMVID)
def test_the_readme_prints_camvid_scores_as_recorded(recipe):
    _, machine, checkpoint = CAMVID[recipe]
    evaluations = camvid_record(recipe)["evaluations"]
    assert [name for name in evaluations if name.startswith("test")] == ["test, flip"], "tested once"
    for split, name in ("test", "test, flip"), ("val", f"val of {checkpoint}, flip"):
        scores = evaluations[name]
        row = " | ".join(f"{100 * iou:.1f}" for iou in scores["iou"].values())
        assert f"| {machine}, {split} | **{100 * scores['miou']:.1f}** | {row} |" in README
        assert scores["checkpoint"] == checkpoint


def test_what_the_readme_says_of_these_runs_is_recorded():
    two_cores, gpu = camvid_record("camvid"), camvid_record("camvid_gpu")
    assert not two_cores["git"]["dirty"] and not gpu["git"]["dirty"]
    assert f"`camvid`, {two_cores['training']['seconds'] / 60:.0f} minutes, " in TEXT
    assert f"`camvid_gpu`, {gpu['training']['seconds'] / 60:.0f} minutes on an H100" in TEXT and "H100" in gpu["device"]
    for record in two_cores, gpu:
        assert f"{record['network']['parameters'] / 1e6:.1f} M parameters ([record]" in TEXT
    views = [two_cores["evaluations"][f"val of best.ckpt{views}"]["miou"] for views in ("", ", multi-scale", ", flip")]
    assert max(views) == views[-1] > two_cores["evaluations"]["val of best.ckpt, multi-scale, flip"]["miou"]
    before, rounded = (100 * gpu["evaluations"][f"val of {name}.ckpt, flip"]["miou"] for name in ("best", "best-float16"))
    assert f"on val: {rounded:.2f} % for {before:.2f}." in TEXT
    assert gpu["config"]["data"]["root"] == "data/camvid-jpeg"
    with (RESULTS / CAMVID["camvid_gpu"][0] / "seed0" / "metrics.csv").open() as stream:
        memory = max(float(row["train/gpu_memory_gib"] or 0) for row in csv.DictReader(stream))
    assert f"{memory:.1f} GiB of its memory" in TEXT


@pytest.mark.parametrize("recipe", CAMVID)
def test_a_recipe_with_a_printed_score_is_what_was_trained(recipe):
    def flat(values, prefix=""):
        for key, value in values.items():
            yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]

    written = dict(flat(yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())))
    trained = dict(flat(camvid_record(recipe)["config"]))
    # The GPU had a copy of the pictures; how the test is done, chosen when the network was there, changes no training.
    elsewhere = {"model.test_flip"} | ({"data.root"} if recipe == "camvid_gpu" else set())
    assert len(written) > 20
    assert {key: value for key, value in written.items() if trained[key] != value}.keys() <= elsewhere


def test_what_the_readme_says_a_gpu_gives_on_camvid_is_what_the_table_gives():
    report = build_report(read_table(find_table("capacity")), "camvid_gpu", str(RESULTS), [0])
    rows = {row.cell.name: row for row in report.rows}
    scores = {cell: row.score.mean for cell, row in rows.items()}

    def more(cell, than="start"):
        return f"{scores[cell] - scores[than]:.1f}"

    assert (
        f"for what it costs, {more('enlarged')} without a parameter more; the paper's widths give {more('paper_width')}" in TEXT
    )
    parameters = [rows[cell].records[0]["network"]["parameters"] for cell in ("start", "enlarged", "paper_width")]
    assert parameters[0] == parameters[1] and round(parameters[2] / parameters[0]) == 16
    assert f"sixteen times the parameters, and a larger encoder {more('lite2')}." in TEXT
    assert f"Stronger augmentation takes {more('lite2_enlarged', 'lite2_enlarged_varied')} away" in TEXT
    multi_scale = [row.multi_scale.mean - row.score.mean for row in report.rows]
    assert f"averaging three scales gives {sum(multi_scale) / len(multi_scale):.1f} on average" in TEXT
    evaluations = camvid_record("camvid_gpu")["evaluations"]
    mirrored, plain = (100 * evaluations[f"val of best.ckpt{views}"]["miou"] for views in (", flip", ""))
    assert f"averaging the mirrored picture {mirrored - plain:.1f} for the best network, which is the recipe." in TEXT
    assert max(scores, key=scores.get) == "lite2_enlarged"


def test_what_the_readme_says_of_the_papers_widths_is_what_the_records_give():
    def score(table, cell):
        record = json.loads((RESULTS / f"{table}@camvid_paper_width" / cell / "seed0" / "results.json").read_text())
        return f"{100 * record['evaluations']['val']['miou']:.1f}", record["pooling_activity"]

    (without, _), (paper, activity) = score("chained_pooling", "no_pooling"), score("chained_pooling", "pool_conv_4")
    assert f"ReLU kept, scores {without} %, the paper's {paper} ([table]" in TEXT
    assert f"convolution units of the paths {score('rcu_removal', 'no_path_rcus')[0]} ([table]" in TEXT
    assert "Three blocks of the paper's were silent." in TEXT and sum(share <= LEAST_SHARE for share in activity) == 3


def test_what_the_readme_says_was_tried_on_camvid_is_what_the_table_gives():
    report = build_report(read_table(find_table("training")), "camvid", str(RESULTS), [0])
    scores = {row.cell.name: row.score.mean for row in report.rows}

    def less(cell, than="start"):
        return f"{scores[than] - scores[cell]:.1f}"

    assert f"What gives more is ImageNet's weights ({less('random')})" in TEXT
    assert f"({less('half_size', 'whole_pictures')} over half of it, both on crops of 480x360)" in TEXT
    assert f"leaving out the ReLU before pooling ({less('relu')}), twice the epochs ({less('start', 'long')})" in TEXT
    assert f"class weights ({less('no_class_weights')}), and an encoder" in TEXT
    assert f"learns slowly ({less('encoder_learns_fully')}) with its batch normalisation as ImageNet left it" in TEXT
    assert f"as ImageNet left it ({less('normalization_learns')})." in TEXT
    assert max(scores[cell] for cell in ("wide", "more_scales", "twice_the_rate", "half_the_rate")) < scores["start"]
    multi_scale = [row.multi_scale.mean - row.score.mean for row in report.rows]
    assert f"multi-scale evaluation {sum(multi_scale) / len(multi_scale):.1f} on average." in TEXT


def test_the_readme_prints_the_memory_of_evaluation_as_recorded():
    records = json.loads(evaluation_memory.RECORD.read_text())
    assert evaluation_memory.table(records) in README
    measured = [{key: record[key] for key in case} for record, case in zip(records, evaluation_memory.CASES, strict=True)]
    assert measured == evaluation_memory.CASES, "the record is of these cases"


def test_the_readme_prints_what_processes_change_as_recorded():
    record = json.loads(processes.RECORD.read_text())
    for table in processes.tables(record):
        assert table in README
    assert [(row["processes"], row["threads"], row["accumulated"]) for row in record["trained"]] == processes.SHARES
    assert tuple(row["processes"] for row in record["evaluated"]) == processes.EVALUATED
    assert all(row["confusion"] == record["evaluated"][0]["confusion"] for row in record["evaluated"]), "the README says so"


@pytest.mark.parametrize("file", sorted(RESULTS.glob("benchmark_*.json")), ids=lambda file: file.stem)
def test_the_readme_prints_the_benchmark_as_recorded(file, tmp_path):
    record = json.loads(file.read_text())
    printed = tables.tables(tables.of_size(record, 512))
    assert set(printed) == set(benchmark.PARTS)
    for name in ("networks", "changes", "freed", "memory", "data", "start"):
        assert printed[name] in README, f"{name}: python experiments/benchmark.py --table {file} --size 512"
    assert f"{record['device']}, {record['dtype']}, {record['date']}" in README
    assert not record["quick"] and set(record["git"]) == set(benchmark.PARTS)
    assert all(state["dirty"] is False for state in record["git"].values())
    tables.write_csv(tmp_path / "again.csv", record)
    assert (tmp_path / "again.csv").read_text() == file.with_suffix(".csv").read_text()


def test_the_targets_that_the_readme_says_are_met_are_met():
    record = json.loads((RESULTS / "benchmark_AMD-EPYC-2-threads.json").read_text())
    times = {(row["network"], row["change"]): row["median_ms"] for row in record["changes"]}
    full = "RefineNet, ResNet-50"
    assert times[full, changes.PLAIN] > 1.5 * times[full, changes.PREPARED]
    assert times[full, changes.PREPARED] < 1.1 * times[full, changes.ALONE]
    rows = {row["network"]: row["median_ms"] for row in record["networks"] if (row["mode"], row["size"]) == ("inference", 512)}
    for peer in ("FPN, ResNet-50", "DeepLabV3Plus, ResNet-50"):
        assert rows["Light-Weight RefineNet, ResNet-50"] < 1.1 * rows[peer]


@pytest.mark.parametrize(
    "row, arguments",
    [
        ("RefineNet, ResNet-50", {"encoder_name": "resnet50"}),
        ("RefineNet, ResNet-101", {"encoder_name": "resnet101"}),
        ("RefineNet, ResNet-152", {"encoder_name": "resnet152"}),
        (
            "Light-Weight RefineNet, ResNet-50",
            {"encoder_name": "resnet50", "kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0},
        ),
    ],
)
def test_the_readme_prints_sizes_as_counted(row, arguments):
    with torch.device("meta"):
        parts = describe(RefineNet(**arguments, encoder_weights=None), 512, 512)
    parameters, multiply_adds = (sum(getattr(part, name) for part in parts) for name in ("parameters", "multiply_adds"))
    assert f"| {row} | {parameters:,} | {multiply_adds / 1e9:.1f} G |" in README
