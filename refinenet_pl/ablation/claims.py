"""A claim's effect in the records, its interval, and the verdict on the claim."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from refinenet_pl.ablation.comparison import get
from refinenet_pl.ablation.records import read_records
from refinenet_pl.ablation.significance import Significance, compare
from refinenet_pl.ablation.table import Claim, Family
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_table, names

# In points: nobody would choose a network by a smaller difference, so that scores within it count as equal.
MARGIN = 1.0

Verdict = Literal["supported", "not supported", "not decided here"]


@dataclass(frozen=True)
class Effect:
    """A claim's effect in the records of one recipe.

    Attributes:
        claim: The claim.
        values: The effect by seed, in points.
        significance: Its interval, with p for all claims of its family on the recipe together; None for fewer than two seeds.
        verdict: See `judge`.
    """

    claim: Claim
    values: dict[int, float]
    significance: Significance | None
    verdict: Verdict

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())


def read_claims() -> list[Claim]:
    """The claims of all tables of the package, table by table.

    Raises:
        TableError: A table cannot be read.
    """
    return [claim for name in names(TABLES) for claim in read_table(find_table(name)).claims]


def effects(claims: list[Claim], recipe: str, root: Path, split: str = "val") -> list[Effect]:
    """Effects in the records of a recipe; claims without a seed that has all their cells are left out.

    Raises:
        RecordError: A record cannot be read.
    """
    held = []
    for family in get_args(Family):
        asked = [claim for claim in claims if claim.family == family]
        values = [_by_seed(claim, recipe, root, split) for claim in asked]
        tests = compare([list(found.values()) for found in values])
        held += [
            Effect(claim, found, test, judge(claim, test))
            for claim, found, test in zip(asked, values, tests, strict=True)
            if found
        ]
    return held


def judge(claim: Claim, test: Significance | None) -> Verdict:
    """The verdict on a claim from the interval of its effect.

    A claim that something is more is supported if the effect is above 0 and more than noise, and not supported if it is below 0
    and more than noise, or if the interval is within the margin. A claim that two are equal is supported if the interval is
    within the margin, and not supported if it is outside.
    """
    if test is None:
        return "not decided here"
    within = test.low > -MARGIN and test.high < MARGIN
    if claim.expects == "equal":
        outside = test.low > MARGIN or test.high < -MARGIN
        return "supported" if within else "not supported" if outside else "not decided here"
    if test.is_shown:
        return "supported" if test.low > 0 else "not supported"
    return "not supported" if within else "not decided here"


def _by_seed(claim: Claim, recipe: str, root: Path, split: str) -> dict[int, float]:
    records = read_records(root, f"{claim.table}@{recipe}")
    found = {}
    for seed in sorted({seed for _, seed in records}):
        scores = {cell: _score(claim, records.get((cell, seed)), split) for cell in claim.effect}
        if None not in scores.values():
            found[seed] = sum(weight * scores[cell] for cell, weight in claim.effect.items())
    return found


def _score(claim: Claim, record: dict | None, split: str) -> float | None:
    """The score in percent; None if the record has none."""
    score = get(record, "evaluations", split, claim.score)
    minus = 0.0 if claim.minus is None else get(record, "evaluations", split, claim.minus)
    return None if score is None or minus is None else 100 * (score - minus)
