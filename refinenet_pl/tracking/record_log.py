"""Presentation of a finished training's record in a logger."""

from typing import Any

from refinenet_pl.files import slug
from refinenet_pl.tracking.identity import BEST, LAST, RunId
from refinenet_pl.tracking.log_options import LogOptions
from refinenet_pl.tracking.tracker import Tracker


def log_record(tracker: Tracker, record: dict[str, Any]) -> None:
    """Show the scores of a finished training.

    Args:
        tracker: Tracker of a logger.
        record: Content of results.json.
    """
    for name, evaluation in record["evaluations"].items():
        tracker.log_scores(slug(name), evaluation, record["training"]["steps"])


def log_files(tracker: Tracker, run: RunId, record: dict[str, Any], log: LogOptions) -> None:
    """Upload the files of a finished run: its record, samples, scores by image and, unless switched off, its checkpoints.

    Args:
        tracker: Tracker of a logger.
        run: The run.
        record: Content of results.json.
        log: Content of the loggers.
    """
    found = [run.results_file, *sorted(run.directory.glob("samples/*")), *sorted(run.directory.glob("*.csv"))]
    tracker.save_files(found)
    checkpoints = [run.directory / name for name in (BEST, LAST)]
    if log.checkpoints and (existing := [file for file in checkpoints if file.is_file()]):
        tracker.save_checkpoints(existing, record)
