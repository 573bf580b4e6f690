"""Kept records: packed by `keep`, read beside run directories."""

import json

import pytest
from helpers.tables import record
from lightning import Trainer

from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.keep import keep
from refinenet_pl.ablation.records import KEPT, RecordError, find_seeds, read_record, read_records
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.checkpoints.loading import build_network
from refinenet_pl.cli import ablate
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.moved import MOVED
from refinenet_pl.report.collect import collect
from refinenet_pl.tracking.identity import RunId

GROUP = "mine@scenes"


def lines(target):
    return [json.loads(line) for line in (target / GROUP / KEPT).read_text().splitlines()]


def test_kept_records_give_the_table_of_their_run_directories(table_file, tmp_path):
    table, runs, kept = read_table(table_file), tmp_path / "runs", tmp_path / "kept"
    for cell, seed, miou in ("shallow", 1, 0.53), ("paper", 10, 0.61), ("paper", 2, 1 / 3), ("shallow", 0, 0.5):
        record(table, cell, seed, runs, miou)
    (runs / GROUP / "middle" / "seed0").mkdir(parents=True)  # begun and not finished
    assert keep(runs, GROUP, kept) == kept / GROUP / KEPT
    assert [(run["run"]["cell"], run["run"]["seed"]) for run in lines(kept)] == [
        ("paper", 2), ("paper", 10), ("shallow", 0), ("shallow", 1),
    ]  # fmt: skip
    assert list((kept / GROUP).iterdir()) == [kept / GROUP / KEPT]
    seeds = find_seeds(table, "scenes", str(kept))
    assert seeds == [0, 1, 2, 10] == find_seeds(table, "scenes", str(runs))
    one, other = (build_report(table, "scenes", str(root), seeds) for root in (runs, kept))
    assert [row.score for row in one.rows] == [row.score for row in other.rows] and one.rows[0].score.values[2] == 100 * (1 / 3)
    assert other.warnings == [] and other.missing == []
    assert read_record(RunId("scenes", "mine", "paper", 2, str(kept)))["evaluations"]["val"]["miou"] == 1 / 3
    assert read_record(RunId("scenes", "mine", "paper", 0, str(kept))) is None


def test_a_run_directory_wins_over_the_kept_record_of_the_same_run(table_file, tmp_path):
    table = read_table(table_file)
    for cell, miou in ("paper", 0.6), ("shallow", 0.5):
        record(table, cell, 0, tmp_path / "old", miou)
    keep(tmp_path / "old", GROUP, tmp_path)
    record(table, "paper", 0, tmp_path, 0.7)
    record(table, "paper", 1, tmp_path, 0.8)
    found = {run: read["evaluations"]["val"]["miou"] for run, read in read_records(tmp_path, GROUP).items()}
    assert found == {("paper", 0): 0.7, ("paper", 1): 0.8, ("shallow", 0): 0.5}
    assert read_record(RunId("scenes", "mine", "paper", 0, str(tmp_path)))["evaluations"]["val"]["miou"] == 0.7


def test_records_of_the_same_cell_and_seed_are_replaced_and_others_stay(table_file, tmp_path):
    table, kept = read_table(table_file), tmp_path / "kept"
    for root, runs in ("first", [("paper", 0.6), ("shallow", 0.5)]), ("second", [("paper", 0.7), ("middle", 0.4)]):
        for cell, miou in runs:
            record(table, cell, 0, tmp_path / root, miou)
        keep(tmp_path / root, GROUP, kept)
    assert [run["evaluations"]["val"]["miou"] for run in lines(kept)] == [0.4, 0.7, 0.5]


def test_defaults_of_the_trainer_are_left_out_and_are_no_difference(table_file, tmp_path):
    table, runs, kept = read_table(table_file), tmp_path / "runs", tmp_path / "kept"
    defaults = {"num_nodes": 1, "overfit_batches": 0.0, "detect_anomaly": False, "precision": None}
    trainer = {"max_epochs": 3, "use_distributed_sampler": False, **defaults}
    for cell in "paper", "shallow":
        record(table, cell, 0, runs, 0.6, config__trainer=trainer)
    keep(runs, GROUP, kept)
    assert lines(kept)[0]["config"]["trainer"] == {"max_epochs": 3, "use_distributed_sampler": False}
    record(table, "paper", 1, kept, 0.6, config__trainer=trainer | {"inference_mode": True})
    assert build_report(table, "scenes", str(kept), [0, 1]).warnings == []
    record(table, "paper", 1, kept, 0.6, config__trainer=trainer | {"num_nodes": 2})
    (warning,) = build_report(table, "scenes", str(kept), [0, 1]).warnings
    assert warning == "the runs differ in trainer.num_nodes: 1 (paper seed 0, shallow seed 0); 2 (paper seed 1)"
    assert Trainer(**lines(kept)[0]["config"]["trainer"], logger=False).num_nodes == 1


def test_moved_classes_are_the_classes_that_the_table_names(tmp_path):
    file = tmp_path / "mine.yaml"
    old, new = "refinenet_pl.network.peers.FPN", "refinenet_pl.models.baselines.FPN"
    cells = f"{{fpn: {{label: FPN, network_class: {new}}}, paper: {{label: P}}}}"
    file.write_text(f"{{title: T, source: S, claim: C, reference: fpn, cells: {cells}}}")
    table, runs = read_table(file), tmp_path / "runs"
    record(table, "fpn", 0, runs, 0.6, config__model__network={"class_path": old}, network__class=old)
    assert build_report(table, "scenes", str(runs), [0]).warnings == []
    keep(runs, GROUP, tmp_path)
    (kept,) = lines(tmp_path)
    assert kept["config"]["model"]["network"]["class_path"] == kept["network"]["class"] == new


def test_a_network_of_a_moved_class_is_built():
    for old in MOVED:
        arguments = {"encoder_name": "resnet18", "encoder_weights": "imagenet", "classes": 3}
        arguments |= {"width": 8, "deepest_width": 8} if "RefineNet" in old else {}
        network = build_network({"class_path": old, "init_args": arguments})
        assert f"{type(network).__module__}.{type(network).__qualname__}" == MOVED[old]
    assert RefineNet.__module__ in MOVED["refinenet_pl.network.refinenet.RefineNet"]


@pytest.mark.parametrize(
    "line, words",
    [
        ("{", "cannot be read"),
        ("[]", "is no record of format 1"),
        ('{"format": 1}', "is the record of None, but lies where mine@scenes belongs"),
        (
            '{"format": 1, "run": {"recipe": "camvid", "table": "mine", "cell": "paper", "seed": 0}}',
            "but lies where mine@scenes",
        ),
    ],
)
def test_a_broken_line_is_named(table_file, tmp_path, line, words, capsys):
    record(read_table(table_file), "paper", 0, tmp_path, 0.6)
    file = keep(tmp_path, GROUP, tmp_path)
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(RecordError) as error:
        read_records(tmp_path, GROUP)
    assert f"{file}:2: " in str(error.value) and words in str(error.value)
    assert ablate.run_command(["table", str(table_file), "--on", "scenes", "--root", str(tmp_path)]) == 2
    assert f"{file}:2: " in capsys.readouterr().err


def test_nothing_to_keep_is_an_error_and_leaves_the_file_as_it_was(table_file, tmp_path, capsys):
    record(read_table(table_file), "paper", 0, tmp_path / "runs", 0.6)
    kept = tmp_path / "kept"
    words = ["keep", str(table_file), "--on", "scenes", "--output", str(kept)]
    assert ablate.run_command([*words, "--root", str(tmp_path / "runs")]) == 0
    before = (kept / GROUP / KEPT).read_bytes()
    assert ablate.run_command([*words, "--root", str(tmp_path / "nothing")]) == 2
    assert f"{tmp_path / 'nothing' / GROUP}: no finished runs there" in capsys.readouterr().err
    assert (kept / GROUP / KEPT).read_bytes() == before


def test_runs_of_no_table_are_collected_from_kept_records(table_file, tmp_path):
    table = read_table(table_file)
    for cell in "paper", "shallow":
        record(table, cell, 0, tmp_path / "runs", 0.6)
    keep(tmp_path / "runs", GROUP, tmp_path / "kept")
    (group,) = collect(tmp_path / "kept", [], "val")
    assert [row.cell.name for row in group.report.rows] == ["paper", "shallow"] and group.report.reference == "paper"
    assert [row.score.mean for row in group.report.rows] == [pytest.approx(60)] * 2
