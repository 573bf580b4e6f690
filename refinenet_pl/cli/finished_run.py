"""Logging of a training that was not logged while it ran: of an equal run, or by another run of a sweep."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch.loggers import Logger

from refinenet_pl.callbacks.sample_files import read_samples
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values
from refinenet_pl.metrics.registry import SCORES
from refinenet_pl.tracking.curve import log_curve
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.log_options import LogOptions
from refinenet_pl.tracking.record_log import log_files, log_record
from refinenet_pl.tracking.trackers import trackers
from refinenet_pl.tracking.wandb import WandbTracker


def wandb_tracker(run: RunId, config: dict[str, Any], record: dict[str, Any]) -> WandbTracker:
    """Build the W&B logger of a finished training.

    Args:
        run: The run.
        config: Its resolved configuration.
        record: Content of results.json.
    """
    scores = [SCORES[name] for name in record["evaluations"].get("val", {}) if name in SCORES]
    return WandbTracker(run, config, "train", record["git"]["revision"], scores)


def log_finished_run(
    run: RunId, record: dict[str, Any], loggers: Sequence[Logger], meaning: Classes | Values, log: LogOptions
) -> None:
    """Log the scores, samples and files of a finished training, as far as its record and directory have them.

    Args:
        run: The run.
        record: Content of results.json.
        loggers: The loggers.
        meaning: Classes or values of the dataset.
        log: Content of the loggers.
    """
    for logger in loggers:
        logger.log_hyperparams({})  # the run's configuration
        log_curve(logger, record)
    samples = read_samples(run.directory / "samples", meaning) if loggers and log.samples else []
    for tracker in trackers(loggers):
        if samples:
            tracker.log_samples(samples, record["training"]["steps"])
        log_record(tracker, record)
        log_files(tracker, run, record, log)
    for logger in loggers:
        logger.finalize("success")
