"""Verdicts on the paper's claims, and the page that holds them."""

import itertools

import pytest
from helpers.repository import REPOSITORY
from helpers.tables import record

from refinenet_pl.ablation.claims import effects, judge, read_claims
from refinenet_pl.ablation.significance import compare
from refinenet_pl.ablation.table import Claim
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_table, names
from refinenet_pl.cli.main import main
from refinenet_pl.report.claims import page

RESULTS = REPOSITORY / "experiments" / "results"
MORE = Claim("More pooling helps", "chained_pooling", {"pool_conv_4": 1, "no_pooling": -1}, "more")
EQUAL = Claim("The order matters little", "chained_pooling", {"pool_conv_4": 1, "conv_pool_4": -1}, "equal")


def test_the_page_is_what_its_records_give():
    assert (RESULTS / "README.md").read_text() == page(RESULTS), "refinenet claims"


def test_the_command_writes_the_page_and_names_a_broken_record(tmp_path, capsys):
    table = read_table(find_table("cascade"))
    for cell, miou in ("cascade_1", 0.5), ("cascade_2", 0.525):
        record(table, cell, 0, tmp_path, miou)
    main(["claims", "--results", str(tmp_path)])
    assert capsys.readouterr().out == f"Written: {tmp_path / 'README.md'}\n"
    assert (tmp_path / "README.md").read_text() == page(tmp_path)
    assert "| not decided here (+2.5)" in page(tmp_path)
    (tmp_path / "cascade@scenes" / "records.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit) as end:
        main(["claims", "--results", str(tmp_path)])
    assert end.value.code == 2 and "records.jsonl:1: is no record" in capsys.readouterr().err


def test_the_page_has_the_command_that_makes_each_table(tmp_path):
    table = read_table(find_table("cascade"))
    for cell, seed in itertools.product(table.cells, (0, 1)):
        if cell != "cascade_2":
            record(table, cell, seed, tmp_path, 0.5)
    (tmp_path / "cascade@scenes" / "cascade@scenes.md").touch()
    command = "run cascade --on scenes --seeds 2 --cells cascade_1 cascade_4 cascade_4_two_scales`"
    assert command in page(tmp_path)


def test_a_table_without_its_reference_is_compared_with_its_first_row(tmp_path):
    table = read_table(find_table("initialization"))
    for cell in ("lite0", "lite0_random"):
        record(table, cell, 0, tmp_path, 0.5)
    (tmp_path / "initialization@scenes" / "initialization@scenes.md").touch()
    assert "--seeds 1 --cells lite0 lite0_random --reference lite0`" in page(tmp_path)


def test_the_page_names_runs_with_a_silent_block(tmp_path):
    table = read_table(find_table("relu_placement"))
    for cell, seed in itertools.product(table.cells, (0, 1)):
        record(table, cell, seed, tmp_path, 0.5, pooling_activity=[0.3, 0.4])
    assert "silent" not in page(tmp_path)
    record(table, "relu_shortcut", 1, tmp_path, 0.5, pooling_activity=[0.01, 0.4])
    (line,) = (line for line in page(tmp_path).splitlines() if "trained without" in line)
    assert line.startswith("- `relu_placement`: relu_shortcut trained without block 1 (1 is the deepest; seed 1): the ReLU")


def test_every_table_has_claims_of_its_own():
    claims = read_claims()
    tables = set(names(TABLES)) - {"training", "capacity"}  # the choices of recipes are ours
    assert {claim.table for claim in claims} == tables
    assert len({claim.claim for claim in claims}) == len(claims)


def test_the_papers_figures_are_those_of_its_tables():
    printed = {claim.claim: claim.published(read_table(find_table(claim.table))) for claim in read_claims()}
    # Table 2: 40.4 to 42.5 and 64.1 to 65.7; Table 9: 40.3, 40.9, 42.5, 43.1.
    expected = {
        "Chained residual pooling raises the IoU": {"nyudv2": 2.1, "person_part": 1.6},
        "Two blocks in the cascade are better than one": {"nyudv2": 0.6},
        "Four are better than two": {"nyudv2": 1.6},
        "A second image scale raises the IoU further": {"nyudv2": 0.6},
    }
    assert {claim: {k: round(v, 6) for k, v in found.items()} for claim, found in printed.items() if found} == expected


@pytest.mark.parametrize(
    "claim, differences, verdict",
    [
        (MORE, [3.0, 3.2, 2.8], "supported"),
        (MORE, [0.30, 0.31, 0.29], "supported"),
        (MORE, [-3.0, -3.2, -2.8], "not supported"),
        (MORE, [0.3, -0.3, 0.0, 0.1], "not supported"),
        (MORE, [3.0, -3.0, 2.0], "not decided here"),
        (MORE, [3.0], "not decided here"),
        (EQUAL, [0.3, -0.3, 0.0, 0.1], "supported"),
        (EQUAL, [0.6, 0.61, 0.59], "supported"),
        (EQUAL, [3.0, 3.2, 2.8], "not supported"),
        (EQUAL, [-3.0, -3.2, -2.8], "not supported"),
        (EQUAL, [1.5, 0.5, 1.0], "not decided here"),
        (EQUAL, [0.1], "not decided here"),
    ],
)
def test_verdicts_with_a_margin_of_one_point(claim, differences, verdict):
    assert judge(claim, compare([differences])[0]) == verdict


def test_several_claims_make_one_harder_to_show():
    differences = [1.0, 2.0, 3.0, 2.5, 1.2]
    alone = compare([differences])[0]
    among = compare([differences, *[[0.1, -0.1, 0.2, -0.3, 0.1]] * 9])[0]
    assert judge(MORE, alone) == "supported" and judge(MORE, among) == "not decided here"


def test_effects_are_paired_by_seed_and_of_the_claims_score(tmp_path):
    table = read_table(find_table("cascade"))
    for seed, (one, four) in enumerate([(0.50, 0.60), (0.55, 0.63)]):
        for cell, miou in ("cascade_1", one), ("cascade_4", four):
            val = {"miou": miou, "boundary_miou": miou / 2}
            record(table, cell, seed, tmp_path, miou, evaluations={"val": val})
    record(table, "cascade_4", 2, tmp_path, 0.9)  # its partner is missing
    weights = {"cascade_4": 1, "cascade_1": -1}
    claims = [
        Claim("a", "cascade", weights, "more"),
        Claim("b", "cascade", weights, "more", "boundary_miou"),
        Claim("c", "cascade", weights, "more", "boundary_miou", minus="miou"),
        Claim("d", "cascade", {"cascade_4": 1, "cascade_2": -1}, "more"),
    ]
    found = {effect.claim.claim: effect.values for effect in effects(claims, "scenes", tmp_path)}
    assert found == {
        "a": {0: pytest.approx(10.0), 1: pytest.approx(8.0)},
        "b": {0: pytest.approx(5.0), 1: pytest.approx(4.0)},
        "c": {0: pytest.approx(-5.0), 1: pytest.approx(-4.0)},
    }


def test_claims_and_questions_are_families_of_their_own(tmp_path):
    table = read_table(find_table("cascade"))
    for seed, (one, two, four) in enumerate([(0.50, 0.52, 0.60), (0.55, 0.54, 0.63), (0.52, 0.52, 0.62)]):
        for cell, miou in ("cascade_1", one), ("cascade_2", two), ("cascade_4", four):
            record(table, cell, seed, tmp_path, miou)
    claim = Claim("a", "cascade", {"cascade_4": 1, "cascade_1": -1}, "more")
    other = {"table": "cascade", "effect": {"cascade_2": 1, "cascade_1": -1}, "expects": "more"}

    def p(*others):
        (found,) = (e for e in effects([claim, *others], "scenes", tmp_path) if e.claim == claim)
        return found.significance.adjusted_p

    assert p(Claim("b", **other, family="questions")) == p() < p(Claim("b", **other))


def test_questions_stand_apart_on_the_page(tmp_path):
    table = read_table(find_table("peers"))
    for cell, seed in itertools.product(("refinenet", "fpn"), (0, 1)):
        record(table, cell, seed, tmp_path, 0.5)
    claims, questions = page(tmp_path).split("## What a user would ask")
    assert "RefineNet is better than smp's FPN" in questions and "smp's" not in claims
    assert claims.count("| Chained residual pooling") == 1
