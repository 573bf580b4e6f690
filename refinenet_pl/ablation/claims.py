"""Effects and verdicts of the tables' claims, computed from run records."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from refinenet_pl.ablation.records import read_records
from refinenet_pl.ablation.scores import primary, shown
from refinenet_pl.ablation.significance import Significance, compare, seeds_needed
from refinenet_pl.ablation.table import Claim, Family
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_table, names
from refinenet_pl.metrics.registry import SCORES
from refinenet_pl.metrics.score import Score

Verdict = Literal["supported", "not supported", "inconclusive"]


@dataclass(frozen=True)
class Effect:
    """Effect of a claim in the records of one recipe.

    Attributes:
        claim: The claim.
        score: The claim's score, or the primary score of the records.
        values: Effect by seed, in points or in the score's unit. An improvement is positive: if lower scores are better, the
            weighted sum is negated.
        significance: Confidence interval, and p-values adjusted for all claims of the same family on the recipe; None for
            fewer than two seeds.
        verdict: Verdict, see `judge`.
        seeds_needed: Number of seeds that would show an effect as large as the margin of the score, with the observed spread
            over seeds, see `seeds_needed`; None if unknown or too large.
    """

    claim: Claim
    score: Score
    values: dict[int, float]
    significance: Significance | None
    verdict: Verdict
    seeds_needed: int | None

    @property
    def mean(self) -> float:
        """Mean over seeds."""
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
        claims: Claims to evaluate. Claims are omitted if no seed has the score in the records of all their cells.
        recipe: Name of the recipe.
        root: Directory of all runs.
        split: Name of the evaluation.

    Raises:
        RecordError: A record cannot be read.
    """
    held = []
    for family in get_args(Family):
        asked = [claim for claim in claims if claim.family == family]
        scored = [_by_seed(claim, recipe, root, split) for claim in asked]
        tests = compare([list(values.values()) for _, values in scored])
        number = sum(test is not None for test in tests)
        held += [
            Effect(claim, score, values, test, judge(claim, test, score.margin), _seeds_needed(score, values, number))
            for claim, (score, values), test in zip(asked, scored, tests, strict=True)
            if values
        ]
    return held


def judge(claim: Claim, test: Significance | None, margin: float) -> Verdict:
    """Derive the verdict from the confidence interval of the effect and the margin of its score.

    A claim that expects `more` is supported if the effect is significantly above 0. It is not supported if the effect is
    significantly below 0 or its interval is within the margin. A claim that expects `equal` is supported if the interval is
    within the margin, and not supported if the interval is entirely outside the margin. All other cases are inconclusive.
    """
    if test is None:
        return "inconclusive"
    within = test.low > -margin and test.high < margin
    if claim.expects == "equal":
        outside = test.low > margin or test.high < -margin
        return "supported" if within else "not supported" if outside else "inconclusive"
    if test.is_shown:
        return "supported" if test.low > 0 else "not supported"
    return "not supported" if within else "inconclusive"


def _seeds_needed(score: Score, values: dict[int, float], tests: int) -> int | None:
    return seeds_needed(score.margin, statistics.stdev(values.values()), tests) if len(values) > 1 else None


def _by_seed(claim: Claim, recipe: str, root: Path, split: str) -> tuple[Score, dict[int, float]]:
    """Score of the claim, and its effect by seed for seeds with the score in the records of all cells."""
    records = read_records(root, f"{claim.table}@{recipe}")
    score = primary(records.values()) if claim.score is None else SCORES[claim.score]
    sign = 1 if score.higher_is_better else -1
    found: dict[int, float] = {}
    for seed in sorted({seed for _, seed in records}):
        values = [_value(claim, score, records.get((cell, seed)), split) for cell in claim.effect]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            found[seed] = sign * sum(weight * value for weight, value in zip(claim.effect.values(), known, strict=True))
    return score, found


def _value(claim: Claim, score: Score, record: dict[str, Any] | None, split: str) -> float | None:
    value = shown(record, split, score)
    minus = 0.0 if claim.minus is None else shown(record, split, SCORES[claim.minus])
    return None if value is None or minus is None else value - minus
