"""Trackers of a run's loggers."""

from collections.abc import Iterable

from lightning.pytorch.loggers import Logger

from refinenet_pl.tracking.tracker import Tracker

ATTRIBUTE = "refinenet_tracker"
"""Attribute of a logger with its tracker, unless the logger is one itself."""


def trackers(loggers: Iterable[Logger]) -> list[Tracker]:
    """Return the tracker of each logger that has one."""
    found = [vars(logger).get(ATTRIBUTE, logger) for logger in loggers]
    return [tracker for tracker in found if isinstance(tracker, Tracker)]
