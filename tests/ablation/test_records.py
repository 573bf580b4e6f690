"""Kept records: written by `keep`, read in addition to run directories."""

import json

import pytest
from helpers.tables import record, records
from lightning import Trainer

from refinenet_pl.ablation.figures import build_report
from refinenet_pl.ablation.keep import keep
from refinenet_pl.ablation.records import KEPT, RecordError, find_seeds, read_record, read_records
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.cli import ablate
from refinenet_pl.moved import MOVED
from refinenet_pl.report.collect import collect
from refinenet_pl.tasks.rebuilding import build_network
from refinenet_pl.tracking.identity import RunId

GROUP = "mine@scenes"


@pytest.fixture
def table(table_file):
    return read_table(table_file)


def lines(target) -> list[dict]:
    return [json.loads(line) for line in (target / GROUP / KEPT).read_text().splitlines()]


def miou(read: dict) -> float:
    return read["evaluations"]["val"]["miou"]


def test_kept_records_give_the_same_table(table, tmp_path):
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    for cell, seed, score in ("shallow", 1, 0.53), ("paper", 10, 0.61), ("paper", 2, 1 / 3), ("shallow", 0, 0.5):
        record(table, cell, seed, runs, score)
    (runs / GROUP / "middle" / "seed0").mkdir(parents=True)  # started but not finished
    assert [keep(runs, GROUP, kept)] == list((kept / GROUP).iterdir())
    found = [(run["run"]["cell"], run["run"]["seed"]) for run in lines(kept)]
    assert found == [("paper", 2), ("paper", 10), ("shallow", 0), ("shallow", 1)]
    seeds = find_seeds(table, "scenes", str(kept))
    assert seeds == [0, 1, 2, 10] == find_seeds(table, "scenes", str(runs))
    one, other = (build_report(table, "scenes", str(root), seeds) for root in (runs, kept))
    assert [row.score for row in one.rows] == [row.score for row in other.rows] and one.rows[0].score.values[2] == 100 * (1 / 3)
    assert other.warnings == other.missing == []
    assert read_record(RunId("scenes", "mine", "paper", 0, str(kept))) is None


def test_keep(table_file, table, tmp_path, capsys):
    words, kept = ["keep", str(table_file), "--on", "scenes", "--output", str(tmp_path / "kept")], tmp_path / "kept"
    for root, scores in ("first", {"paper": [0.6], "shallow": [0.5]}), ("second", {"paper": [0.7], "middle": [0.4]}):
        records(table, tmp_path / root, **scores)
        assert ablate.run_command([*words, "--root", str(tmp_path / root)]) == 0
    assert [miou(run) for run in lines(kept)] == [0.4, 0.7, 0.5]
    before = (kept / GROUP / KEPT).read_bytes()
    assert ablate.run_command([*words, "--root", str(tmp_path / "nothing")]) == 2
    assert f"{tmp_path / 'nothing' / GROUP}: no finished runs" in capsys.readouterr().err
    assert (kept / GROUP / KEPT).read_bytes() == before
    # Run directories take precedence.
    records(table, kept, paper=[0.8, 0.9])
    found = {run: miou(read) for run, read in read_records(kept, GROUP).items()}
    assert found == {("middle", 0): 0.4, ("paper", 0): 0.8, ("paper", 1): 0.9, ("shallow", 0): 0.5}
    assert miou(read_record(RunId("scenes", "mine", "paper", 0, str(kept)))) == 0.8


def test_directory_of_the_runs_is_omitted(table, tmp_path):
    runs = {"root": str(tmp_path / "runs"), "table": "mine", "cell": "paper"}
    record(table, "paper", 0, tmp_path / "runs", 0.6, config__run=runs)
    file = keep(tmp_path / "runs", GROUP, tmp_path / "kept")
    (kept,) = lines(file.parents[1])
    assert "run" not in kept["config"] and kept["run"]["cell"] == "paper"


def test_trainer_defaults_are_omitted(table, tmp_path):
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    defaults = {"num_nodes": 1, "overfit_batches": 0.0, "detect_anomaly": False, "precision": None}
    trainer = {"max_epochs": 3, "use_distributed_sampler": False, **defaults}
    records(table, runs, changes={"config__trainer": trainer}, paper=[0.6], shallow=[0.6])
    keep(runs, GROUP, kept)
    assert lines(kept)[0]["config"]["trainer"] == {"max_epochs": 3, "use_distributed_sampler": False}
    record(table, "paper", 1, kept, 0.6, config__trainer=trainer | {"inference_mode": True})
    assert build_report(table, "scenes", str(kept), [0, 1]).warnings == []
    record(table, "paper", 1, kept, 0.6, config__trainer=trainer | {"num_nodes": 2})
    (warning,) = build_report(table, "scenes", str(kept), [0, 1]).warnings
    assert "trainer.num_nodes: 1 " in warning
    assert Trainer(**lines(kept)[0]["config"]["trainer"], logger=False).num_nodes == 1


def test_records_of_moved_classes(tmp_path):
    file, runs = tmp_path / "mine.yaml", tmp_path / "runs"
    old, new = "refinenet_pl.network.peers.FPN", "refinenet_pl.models.baselines.FPN"
    cells = f"{{fpn: {{label: FPN, network_class: {new}}}, paper: {{label: P}}}}"
    file.write_text(f"{{title: T, source: S, claim: C, reference: fpn, cells: {cells}}}")
    table = read_table(file)
    record(table, "fpn", 0, runs, 0.6, config__model__network={"class_path": old}, network__class=old)
    assert build_report(table, "scenes", str(runs), [0]).warnings == []
    keep(runs, GROUP, tmp_path)
    (kept,) = lines(tmp_path)
    assert kept["config"]["model"]["network"]["class_path"] == kept["network"]["class"] == new


@pytest.mark.parametrize("old", MOVED)
def test_networks_of_moved_classes(old):
    arguments = {"encoder_name": "resnet18", "encoder_weights": "imagenet", "classes": 3}
    arguments |= {"width": 8, "deepest_width": 8} if "RefineNet" in old else {}
    network = build_network({"class_path": old, "init_args": arguments})
    assert f"{type(network).__module__}.{type(network).__qualname__}" == MOVED[old]


OTHER_RUN = '{"format": 1, "run": {"recipe": "x", "table": "mine", "cell": "paper", "seed": 0}}'


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2}', '{"format": 1}', OTHER_RUN])
def test_invalid_record(table_file, table, tmp_path, kept, content, capsys):
    record(table, "paper", 0, tmp_path, 0.6)
    file = tmp_path / GROUP / (KEPT if kept else "paper/seed0/results.json")
    if kept:
        content = keep(tmp_path, GROUP, tmp_path).read_text() + content + "\n"
    file.write_text(content)
    with pytest.raises(RecordError) as error:
        read_records(tmp_path, GROUP)
    assert f"{file}{':2' * kept}: " in str(error.value)
    assert ablate.run_command(["table", str(table_file), "--on", "scenes", "--root", str(tmp_path)]) == 2
    assert str(error.value) in capsys.readouterr().err


def test_report_of_kept_records_without_a_table(table, tmp_path):
    records(table, tmp_path / "runs", paper=[0.6], shallow=[0.6])
    keep(tmp_path / "runs", GROUP, tmp_path / "kept")
    (group,) = collect(tmp_path / "kept", [], "val")
    assert {row.cell.name: row.score.mean for row in group.report.rows} == pytest.approx({"paper": 60, "shallow": 60})
    assert group.report.reference == "paper"
