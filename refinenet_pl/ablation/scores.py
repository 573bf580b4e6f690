"""Scores in records: the primary one of a group, and scores as people read them."""

from collections.abc import Iterable
from typing import Any

from refinenet_pl.ablation.comparison import get
from refinenet_pl.errors import CatalogError
from refinenet_pl.metrics.registry import SCORES, primary_score
from refinenet_pl.metrics.score import Score


def primary(records: Iterable[dict[str, Any]]) -> Score:
    """Find the primary score of records of one recipe, in their evaluations or curves; mIoU if they contain no scores."""
    for record in records:
        for scored in [*(record.get("evaluations") or {}).values(), *(record.get("curve") or [])]:
            if score := primary_score(scored):
                return score
    return SCORES["miou"]


def find_score(name: str, records: Iterable[dict[str, Any]]) -> Score:
    """Find a score by name: a built-in one, or one of `model.metrics` in the records.

    Raises:
        CatalogError: There is none.
    """
    if name in SCORES:
        return SCORES[name]
    metrics: dict[str, Any] = {}
    for record in records:
        for evaluation in (record.get("evaluations") or {}).values():
            metrics |= evaluation.get("metrics", {})
    if name not in metrics:
        known = ", ".join([*metrics, *SCORES])
        raise CatalogError(f"score {name!r}: is neither built in nor one of model.metrics in the records; use one of {known}")
    return Score(name, name, "", metrics[name]["higher_is_better"], 3, 0.01)


def shown(record: dict[str, Any] | None, evaluation: str, score: Score) -> float | None:
    """Score of an evaluation as it is shown (shares in percent); None if the record does not contain it."""
    value = get(record, "evaluations", evaluation, score.name)
    if score.name not in SCORES:
        value = get(record, "evaluations", evaluation, "metrics", score.name, "value")
    known = isinstance(value, (int, float)) and value == value
    return score.factor * value if known else None


def headline(record: dict[str, Any]) -> str:
    """Primary score of the last validation, such as `54.2% mIoU on val`; empty if there is none."""
    score = primary([record])
    value = shown(record, "val", score)
    return "" if value is None else f"{with_unit(score.format(value), score.unit)} {score.label} on val"


def with_unit(number: str, unit: str) -> str:
    """Append a unit to a number, after a space if it is a letter: 0.5 m, but 54%."""
    return f"{number} {unit}" if unit.isalpha() else f"{number}{unit}"


def direction(score: Score) -> str:
    """Remark for scores whose lower values are better, with a leading space; empty for others."""
    return "" if score.higher_is_better else " (lower is better)"


def axis_label(score: Score, split: str) -> str:
    """Label of an axis of scores: name, split, unit and remark."""
    return f"{score.label} on {split}{f', {score.unit}' if score.unit else ''}{direction(score)}"
