"""Effects and verdicts of claims, and the page of claims."""

import numpy as np
import pytest
from helpers.tables import record, records, rows
from scipy.stats import ttest_1samp

from refinenet_pl.ablation.claims import effects, judge, read_claims
from refinenet_pl.ablation.significance import compare, seeds_needed
from refinenet_pl.ablation.table import Claim
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_table, names
from refinenet_pl.cli.main import main
from refinenet_pl.report.claims import page

MORE = Claim("More pooling helps", "chained_pooling", {"pool_conv_4": 1, "no_pooling": -1}, "more")
EQUAL = Claim("The order has little effect", "chained_pooling", {"pool_conv_4": 1, "conv_pool_4": -1}, "equal")
DEEPER = {"cascade_4": 1, "cascade_1": -1}


@pytest.fixture
def cascade():
    return read_table(find_table("cascade"))


def test_page(cascade, tmp_path, capsys):
    relus = read_table(find_table("relu_placement"))
    records(cascade, tmp_path, cascade_1=[0.5, 0.5], cascade_2=[0.525])
    records(read_table(find_table("initialization")), tmp_path, lite0=[0.5], lite0_random=[0.5])
    records(read_table(find_table("peers")), tmp_path, refinenet=[0.5, 0.5], fpn=[0.5, 0.5])
    records(relus, tmp_path, changes={"pooling_activity": [0.3, 0.4]}, **dict.fromkeys(relus.cells, [0.5, 0.5]))
    for group in "cascade@scenes", "initialization@scenes":
        (tmp_path / group / f"{group}.md").touch()
    main(["claims", "--results", str(tmp_path)])
    text = (tmp_path / "README.md").read_text()
    assert "| inconclusive (+2.5)" in text
    assert "cascade --on scenes --seeds 2 --cells cascade_1 cascade_2 --reference" in text
    claims, questions = text.split("## Practical questions")
    assert "RefineNet is better than smp's FPN" in questions and "smp's" not in claims
    assert "Chained residual pooling improves the predictions" in [row[0] for row in rows(claims)]
    assert "inactive" not in text
    record(relus, "relu_shortcut", 1, tmp_path, 0.5, pooling_activity=[0.01, 0.4])
    (line,) = (line for line in page(tmp_path).splitlines() if line.startswith("- `relu_placement`: relu_shortcut"))
    assert "block 1 " in line and "seed 1" in line
    (tmp_path / "cascade@scenes" / "records.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit) as end:
        main(["claims", "--results", str(tmp_path)])
    assert end.value.code == 2 and "records.jsonl:1: not a record" in capsys.readouterr().err


def test_claims_of_the_tables():
    claims = read_claims()
    without_claims = {"training", "capacity", "losses", "modern", "optimization"}
    assert {claim.table for claim in claims} == set(names(TABLES)) - without_claims
    assert len({claim.claim for claim in claims}) == len(claims)
    printed = {claim.claim: claim.published(read_table(find_table(claim.table))) for claim in claims}
    # Table 2: 40.4 to 42.5 and 64.1 to 65.7; Table 9: 40.3, 40.9, 42.5, 43.1.
    assert {claim: pytest.approx(found) for claim, found in printed.items() if found} == {
        "Chained residual pooling improves the predictions": {"nyudv2": 2.1, "person_part": 1.6},
        "Four blocks in the cascade are better than one": {"nyudv2": 2.2},
        "Two blocks in the cascade are better than one": {"nyudv2": 0.6},
        "Four blocks in the cascade are better than two": {"nyudv2": 1.6},
        "A second image scale improves the predictions further": {"nyudv2": 0.6},
    }


@pytest.mark.parametrize(
    "claim, differences, verdict",
    [
        (MORE, [3.0, 3.2, 2.8], "supported"), (MORE, [0.30, 0.31, 0.29], "supported"),
        (MORE, [-3.0, -3.2, -2.8], "not supported"), (MORE, [0.3, -0.3, 0.0, 0.1], "not supported"),
        (MORE, [3.0, -3.0, 2.0], "inconclusive"), (MORE, [3.0], "inconclusive"),
        (EQUAL, [0.3, -0.3, 0.0, 0.1], "supported"), (EQUAL, [0.6, 0.61, 0.59], "supported"),
        (EQUAL, [3.0, 3.2, 2.8], "not supported"), (EQUAL, [-3.0, -3.2, -2.8], "not supported"),
        (EQUAL, [1.5, 0.5, 1.0], "inconclusive"), (EQUAL, [0.1], "inconclusive"),
    ],
)  # fmt: skip
def test_verdicts(claim, differences, verdict):
    assert judge(claim, compare([differences])[0], 1.0) == verdict


def test_effects_are_paired_by_seed(cascade, tmp_path):
    for cell, scores in ("cascade_1", [0.50, 0.55]), ("cascade_4", [0.60, 0.63, 0.9]):
        for seed, miou in enumerate(scores):
            record(cascade, cell, seed, tmp_path, miou, evaluations__val__boundary_miou=miou / 2)
    claims = [
        Claim("a", "cascade", DEEPER, "more"),
        Claim("b", "cascade", DEEPER, "more", "boundary_miou"),
        Claim("c", "cascade", DEEPER, "more", "boundary_miou", minus="miou"),
        Claim("d", "cascade", {"cascade_4": 1, "cascade_2": -1}, "more"),
    ]
    found = {effect.claim.claim: effect.values for effect in effects(claims, "scenes", tmp_path)}
    expected = {"a": {0: 10, 1: 8}, "b": {0: 5, 1: 4}, "c": {0: -5, 1: -4}}
    assert found == {claim: pytest.approx(values) for claim, values in expected.items()}


@pytest.mark.parametrize("tests", [1, 4])
@pytest.mark.parametrize("deviation", [0.3, 0.8, 2.0])
def test_seeds_needed(deviation, tests):
    needed = seeds_needed(1.0, deviation, tests)
    rng = np.random.default_rng(0)

    def power(seeds: int) -> float:
        samples = rng.normal(1.0, deviation, (4000, seeds))
        return (ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05 / tests).mean()

    assert power(needed) > 0.78
    assert needed == 2 or power(needed - 1) < 0.82
    assert seeds_needed(1.0, 0.0, tests) == 2 and seeds_needed(0.001, 10.0, tests) is None


def test_families_are_adjusted_separately(cascade, tmp_path):
    records(cascade, tmp_path, cascade_1=[0.50, 0.55, 0.52], cascade_2=[0.52, 0.54, 0.52], cascade_4=[0.60, 0.63, 0.62])
    claim = Claim("a", "cascade", DEEPER, "more")
    other = {"claim": "b", "table": "cascade", "effect": {"cascade_2": 1, "cascade_1": -1}, "expects": "more"}

    def p(*others: Claim) -> float:
        (found,) = (e for e in effects([claim, *others], "scenes", tmp_path) if e.claim == claim)
        return found.significance.adjusted_p

    assert p(Claim(**other, family="questions")) == p() < p(Claim(**other))
