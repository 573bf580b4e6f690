"""Validation scores of a training that was not logged while it ran."""

from typing import Any

from lightning.pytorch.loggers import Logger

from refinenet_pl.files import slug
from refinenet_pl.metrics.registry import SCORES, primary_score
from refinenet_pl.tracking.other_loggers import last_step
from refinenet_pl.tracking.trackers import trackers


def log_curve(logger: Logger, record: dict[str, Any]) -> None:
    """Log the validation scores of a finished training.

    Args:
        logger: Logger of the run.
        record: Content of results.json.
    """
    best: dict[str, list[float]] = {}
    for point in record["curve"]:
        score = primary_score(point)
        if score is not None and (value := point[score.name]) is not None:
            logger.log_metrics({"epoch": point["epoch"] - 1, f"val/{score.name}": value}, last_step(point["step"]))
            best.setdefault(score.name, []).append(value)
    for name, evaluation in record["evaluations"].items():
        metrics = {name: measured["value"] for name, measured in evaluation.get("metrics", {}).items()}
        known = {score: evaluation.get(score) for score in ("loss", *SCORES)} | metrics
        scores = {score: value for score, value in known.items() if value is not None}
        logger.log_metrics(
            {f"{slug(name)}/{score}": value for score, value in scores.items()}, last_step(record["training"]["steps"])
        )
    for tracker in trackers([logger]):
        for name, values in best.items():
            tracker.log_best(SCORES[name], SCORES[name].best(values))
