"""A claim's effect in the kept records, its interval, and what that says about the claim."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import yaml

from refinenet_pl.ablation.comparison import get
from refinenet_pl.ablation.records import find_seeds, read_record
from refinenet_pl.ablation.significance import Significance, compare
from refinenet_pl.ablation.tables import Table, read_table
from refinenet_pl.catalog import find_table
from refinenet_pl.tracking.identity import RunId

FILE = Path(__file__).with_name("claims.yaml")

Verdict = Literal["supported", "not supported", "not decided here"]
Family = Literal["claims", "questions"]


@dataclass(frozen=True)
class Claim:
    """One sentence, of the paper or ours, and the sum over cells that tests it.

    Attributes:
        claim: The sentence, in our words.
        table: Name of the table.
        effect: Weight of each cell.
        expects: Whether the effect should be above 0, or within the margin.
        score: Of which score.
        minus: A score whose effect is taken off; None for none.
        paper: For each recipe other cells' weights, where the paper has no figures for these.
        family: What it is tested together with: the paper's claims, or users' questions.
    """

    claim: str
    table: str
    effect: dict[str, float]
    expects: Literal["more", "equal"]
    score: str = "miou"
    minus: str | None = None
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    family: Family = "claims"

    def published(self, table: Table) -> dict[str, float]:
        """The paper's effect on each recipe for which it has all figures, in points."""
        found = {}
        for recipe, figures in table.published.items() if self.score == "miou" else ():
            weights = self.paper.get(recipe, self.effect)
            if set(weights) <= set(figures):
                found[recipe] = sum(weight * figures[cell] for cell, weight in weights.items())
        return found


@dataclass(frozen=True)
class Effect:
    """What the records of one recipe say about a claim.

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


def read_claims() -> tuple[list[Claim], float]:
    """The claims and the margin, in points, within which two scores count as equal."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    claims = [Claim(**entry, family=family) for family in get_args(Family) for entry in content[family]]
    for claim in claims:
        table = read_table(find_table(claim.table))
        for weights in (claim.effect, *claim.paper.values()):
            table.select(list(weights))
            if abs(sum(weights.values())) > 1e-9:
                raise ValueError(f"{FILE}: the weights of “{claim.claim}” must sum to 0, for an effect is a difference")
    return claims, content["margin"]


def effects(claims: list[Claim], margin: float, recipe: str, root: Path, split: str = "val") -> list[Effect]:
    """The effects that the records of a recipe hold; claims without a seed that has all its cells are left out.

    Raises:
        RecordError: A record cannot be read.
    """
    held = []
    for family in get_args(Family):
        asked = [claim for claim in claims if claim.family == family]
        values = [_by_seed(claim, recipe, root, split) for claim in asked]
        tests = compare([list(found.values()) for found in values])
        held += [
            Effect(claim, found, test, judge(claim, test, margin))
            for claim, found, test in zip(asked, values, tests, strict=True)
            if found
        ]
    return held


def judge(claim: Claim, test: Significance | None, margin: float) -> Verdict:
    """What an interval says about a claim.

    A claim that something is more is supported where the effect is above 0 and more than noise, and not supported where it is
    below 0 and more than noise, or where the interval lies within the margin. A claim that two are equal is supported where the
    interval lies within the margin, and not supported where it lies outside.
    """
    if test is None:
        return "not decided here"
    within = -margin < test.low and test.high < margin
    if claim.expects == "equal":
        outside = test.low > margin or test.high < -margin
        return "supported" if within else "not supported" if outside else "not decided here"
    if test.is_shown:
        return "supported" if test.low > 0 else "not supported"
    return "not supported" if within else "not decided here"


def _by_seed(claim: Claim, recipe: str, root: Path, split: str) -> dict[int, float]:
    table = read_table(find_table(claim.table))
    found = {}
    for seed in find_seeds(table, recipe, str(root)):
        scores = {
            cell: _score(claim, read_record(RunId(recipe, claim.table, cell, seed, str(root))), split) for cell in claim.effect
        }
        if None not in scores.values():
            found[seed] = sum(weight * scores[cell] for cell, weight in claim.effect.items())
    return found


def _score(claim: Claim, record: dict | None, split: str) -> float | None:
    """In per cent; None where the record has none."""
    score = get(record, "evaluations", split, claim.score)
    minus = 0.0 if claim.minus is None else get(record, "evaluations", split, claim.minus)
    return None if score is None or minus is None else 100 * (score - minus)
