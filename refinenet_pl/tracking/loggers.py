"""Loggers of a run: W&B, CSV files, or none."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from refinenet_pl.metrics.score import Score
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.wandb import WandbTracker

Track = Literal["wandb", "csv", "none"]


class SafeCSVLogger(CSVLogger):
    """CSVLogger that, on a full disk, keeps its file and warns instead of ending the training.

    Lightning's own logger truncates the file before it writes it with a new column, and would lose its contents.
    """

    @rank_zero_only
    def save(self) -> None:
        """Write the values, or restore the file if that fails."""
        writer = self.experiment
        file, columns = Path(writer.metrics_file_path), list(writer.metrics_keys)
        before = file.read_bytes() if file.exists() else None
        try:
            super().save()
        except OSError as error:
            writer.metrics_keys = columns
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True) if before is None else file.write_bytes(before)
            rank_zero_warn(f"{file}: {error.strerror}; the values are kept in memory and written when there is space")


def build_loggers(
    track: Track, run: RunId, config: dict[str, Any], job_type: str, revision: str | None, scores: Iterable[Score] = ()
) -> list[Logger]:
    """Build the loggers of a run.

    Args:
        track: `wandb` for W&B and CSV files, `csv` for CSV files only, or `none`.
        run: The run.
        config: Its resolved configuration.
        job_type: `train`, `validate` or `test`.
        revision: Git revision of the source.
        scores: Scores of the task.
    """
    # Without `version`, because CSVLogger empties the directory of a given version, and values from before an interruption
    # would be lost.
    loggers: list[Logger] = [] if track == "none" else [SafeCSVLogger(run.directory / "metrics", name=job_type)]
    return [*loggers, WandbTracker(run, config, job_type, revision, scores)] if track == "wandb" else loggers
