"""All scores by name."""

from collections.abc import Mapping
from typing import Any

from refinenet_pl.metrics.confusion import Scores
from refinenet_pl.metrics.depth import DepthScores
from refinenet_pl.metrics.keypoints import KeypointScores
from refinenet_pl.metrics.labels import LabelScores
from refinenet_pl.metrics.normals import NormalScores
from refinenet_pl.metrics.score import Score, ScoreSet
from refinenet_pl.metrics.values import ErrorScores

KINDS: tuple[type[ScoreSet], ...] = (Scores, DepthScores, NormalScores, KeypointScores, LabelScores, ErrorScores)

SCORES: dict[str, Score] = {score.name: score for kind in KINDS for score in kind.SCORES}

PRIMARY: dict[str, Score] = {kind.SCORES[0].name: kind.SCORES[0] for kind in KINDS}
"""The first score of each kind of evaluation, which selects the best checkpoint and is the default of tables."""


def primary_score(scored: Mapping[str, Any]) -> Score | None:
    """Find the primary score among the keys of an evaluation or of a point of a curve; None if there is none."""
    return next((score for name, score in PRIMARY.items() if name in scored), None)
