"""Effects and verdicts of the tables' claims, computed from run records."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from refinenet_pl.ablation.comparison import get
from refinenet_pl.ablation.records import read_records
from refinenet_pl.ablation.significance import Significance, compare
from refinenet_pl.ablation.table import Claim, Family
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_table, names

# In points: scores that differ by less count as equal, because the choice of a network would not depend on it.
MARGIN = 1.0

Verdict = Literal["supported", "not supported", "inconclusive"]


@dataclass(frozen=True)
class Effect:
    """Effect of a claim in the records of one recipe.

    Attributes:
        claim: The claim.
        values: Effect by seed, in points.
        significance: Confidence interval, and p-values adjusted for all claims of the same family on the recipe; None for
            fewer than two seeds.
        verdict: Verdict, see `judge`.
    """

    claim: Claim
    values: dict[int, float]
    significance: Significance | None
    verdict: Verdict

    @property
    def mean(self) -> float:
        """Mean over seeds, in points."""
        return statistics.fmean(self.values.values())


def read_claims() -> list[Claim]:
    """Read the claims of all tables in the package.

    Raises:
        TableError: A table cannot be read.
    """
    return [claim for name in names(TABLES) for claim in read_table(find_table(name)).claims]


def effects(claims: list[Claim], recipe: str, root: Path, split: str = "val") -> list[Effect]:
    """Compute effects from the records of a recipe.

    Args:
        claims: Claims to evaluate. Claims are omitted if no seed has records of all their cells.
        recipe: Name of the recipe.
        root: Directory of all runs.
        split: Name of the evaluation.

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
    """Derive the verdict from the confidence interval of the effect.

    A claim that expects `more` is supported if the effect is significantly above 0. It is not supported if the effect is
    significantly below 0 or its interval is within the margin. A claim that expects `equal` is supported if the interval is
    within the margin, and not supported if the interval is entirely outside the margin. All other cases are inconclusive.
    """
    if test is None:
        return "inconclusive"
    within = test.low > -MARGIN and test.high < MARGIN
    if claim.expects == "equal":
        outside = test.low > MARGIN or test.high < -MARGIN
        return "supported" if within else "not supported" if outside else "inconclusive"
    if test.is_shown:
        return "supported" if test.low > 0 else "not supported"
    return "not supported" if within else "inconclusive"


def _by_seed(claim: Claim, recipe: str, root: Path, split: str) -> dict[int, float]:
    records = read_records(root, f"{claim.table}@{recipe}")
    found: dict[int, float] = {}
    for seed in sorted({seed for _, seed in records}):
        scores = [_score(claim, records.get((cell, seed)), split) for cell in claim.effect]
        known = [score for score in scores if score is not None]
        if len(known) == len(scores):
            found[seed] = sum(weight * score for weight, score in zip(claim.effect.values(), known, strict=True))
    return found


def _score(claim: Claim, record: dict[str, Any] | None, split: str) -> float | None:
    """Score in percent; None if the record does not contain it."""
    score = get(record, "evaluations", split, claim.score)
    minus = 0.0 if claim.minus is None else get(record, "evaluations", split, claim.minus)
    return None if score is None or minus is None else 100 * (score - minus)
