"""Loggers that a recipe gives, in addition to the run's own."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from lightning.pytorch.loggers.logger import DummyExperiment, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from matplotlib.figure import Figure
from PIL import Image

from refinenet_pl.metrics.score import Score
from refinenet_pl.tracking.configuration import flatten
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.tracker import Tracker
from refinenet_pl.tracking.trackers import ATTRIBUTE
from refinenet_pl.visualization.panels import side_by_side
from refinenet_pl.visualization.sample import RankedSample, Sample
from refinenet_pl.visualization.scores import PER_CLASS, per_class_rows, plot_confusion
from refinenet_pl.visualization.value_scores import COLUMNS, value_rows

Row = Sequence[str | float | None]


# Calls of Lightning that a tracker replaces.
_CALLS = ("after_save_checkpoint", "finalize", "log_graph", "log_hyperparams", "log_metrics", "save")


class OtherTracker(Tracker):
    """Tracker of a logger that a recipe gives, which never stops a training.

    The first failure of the logger ends its record with a warning. Images and tables are shown by loggers with Lightning's
    `log_image` and `log_table`; others show the values only.

    Args:
        logger: The logger. What Lightning calls is replaced by methods of the tracker; it stays an instance of its class, so
            that callbacks and tasks of the user find it.
        run: The run.
        config: Its resolved configuration, which the logger shows in place of the task's arguments.
        training: The command is `fit`.
    """

    def __init__(self, logger: Any, run: RunId, config: dict[str, Any], training: bool):
        self.logger = logger
        self.run = run
        self.config = config
        self.training = training
        self.ended = False
        self.step: int | None = None  # of the last values
        self.calls: dict[str, Callable[..., Any]] = {name: getattr(logger, name) for name in _CALLS}
        for name, call in self.calls.items():
            setattr(logger, name, getattr(self, name, partial(self.attempt, call)))
        setattr(logger, ATTRIBUTE, self)
        if hasattr(type(logger), "experiment"):
            logger.__class__ = _with_safe_experiment(type(logger), self)

    def start(self, open_experiment: Callable[[], Any]) -> Any:
        """Return the logger's `experiment`, which Lightning starts before it logs anything; called on the first process.

        Args:
            open_experiment: Function that returns it, and starts it on the first call.
        """
        return open_experiment()

    @property
    def settings(self) -> dict[str, Any]:
        """The run's configuration, flattened, with its names."""
        return {**flatten(self.config), **self.run.names}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log the run's configuration in place of the task's arguments."""
        self.attempt(self.calls["log_hyperparams"], self.settings)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values, without the IoU of each class."""
        self.step = step
        # As in W&B: charts of 150 classes would hide the others.
        shown = {name: value for name, value in metrics.items() if "/iou/" not in name}
        self.attempt(self.calls["log_metrics"], shown, step)

    def log_best(self, score: Score, value: float) -> None:
        """Log the best validation score so far, such as `val/miou_best`, at the step of the last values."""
        self.log_metrics({f"val/{score.name}_best": value}, self.step)

    def log_class_curves(self, name: str, iou: dict[str, float], step: int) -> None:
        """Log the IoU of classes in a section of their own, such as `val_iou/sky`."""
        self.log_metrics({f"{name}_iou/{label}": value for label, value in iou.items()}, last_step(step))

    def log_samples(self, samples: Sequence[Sample], step: int) -> None:
        """Show images next to ground truth, prediction and errors, see `side_by_side`."""
        self.attempt(self.show_images, "samples", {sample.name: side_by_side(sample) for sample in samples}, last_step(step))

    def log_scores(self, name: str, evaluation: dict[str, Any], step: int) -> None:
        """Show the scores as a table, with the confusion matrix if there is one."""
        step = last_step(step)
        if "confusion" not in evaluation:
            self.attempt(self.show_table, f"{name}/scores", COLUMNS, list(value_rows(evaluation)), step)
            return
        self.attempt(self.show_table, f"{name}/classes", PER_CLASS, per_class_rows(evaluation), step)
        self.attempt(self.show_images, name, {"confusion": _pixels(plot_confusion(evaluation))}, step)

    def log_ranked(self, name: str, samples: Sequence[RankedSample], step: int) -> None:
        """Show the worst and the best images, and a table of their scores."""
        if not samples:
            return
        step = last_step(step)
        # The others are among the samples of each validation.
        images = {found.rank: side_by_side(found.sample) for found in samples if found.rank.startswith(("worst", "best"))}
        self.attempt(self.show_images, f"{name}_ranked", images, step)
        rows = [(ranked.rank, ranked.sample.name, ranked.value) for ranked in samples]
        self.attempt(self.show_table, f"{name}_ranked/scores", ("rank", "image", samples[0].score.name), rows, step)

    def show_images(self, key: str, images: Mapping[str, np.ndarray], step: int) -> None:
        """Show images.

        Args:
            key: Name of the group.
            images: uint8 (height, width, 3) by caption.
            step: Number of the last training step.
        """
        log_image = getattr(self.logger, "log_image", None)
        if log_image is not None:
            log_image(key=key, images=list(images.values()), step=step, caption=list(images))

    def show_table(self, key: str, columns: Sequence[str], rows: Sequence[Row], step: int) -> None:
        """Show a table.

        Args:
            key: Its name.
            columns: Names of the columns.
            rows: The rows; missing values are None.
            step: Number of the last training step.
        """
        log_table = getattr(self.logger, "log_table", None)
        if log_table is not None:
            log_table(key=key, columns=list(columns), data=[list(row) for row in rows], step=step)

    @rank_zero_only
    def attempt(self, act: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call a function on the first process; after its first error, warn and ignore this and all later calls."""
        if not self.ended:
            self.result_of(act, *args, **kwargs)

    def result_of(self, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function, and return its result; None after an error, which ends the record with a warning."""
        try:
            return act(*args, **kwargs)
        except Exception as error:  # no failure of a logger may stop a training
            if not self.ended:
                name = f"{type(self.logger).__name__}'s record of {self.run.name}"
                rank_zero_warn(f"{name} ends here, the run continues: {type(error).__name__}: {error}")
            self.ended = True
            return None


def _with_safe_experiment(kind: type, tracker: OtherTracker) -> type:
    """Subclass of a logger's class whose `experiment` cannot fail: a dummy after a failure, and on other processes."""

    @rank_zero_experiment
    def experiment(logger: Any) -> Any:
        original = partial(getattr, super(safe, logger), "experiment")
        found = None if tracker.ended else tracker.result_of(tracker.start, original)
        return DummyExperiment() if tracker.ended else found

    safe = type(kind.__name__, (kind,), {"__module__": kind.__module__, "experiment": property(experiment)})
    return safe


def last_step(steps: int) -> int:
    """Number of the last of some training steps; Lightning numbers them from 0 in loggers."""
    return max(0, steps - 1)


def _pixels(figure: Figure) -> np.ndarray:
    """Render a figure: uint8 (height, width, 3)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return np.asarray(Image.open(buffer).convert("RGB"))
