"""Where a run's values go: W&B, CSV files, or nowhere."""

import contextlib
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.wandb import WandbTracker

Track = Literal["wandb", "csv", "none"]


class SafeCSVLogger(CSVLogger):
    """CSV files that a full disk leaves as they were, with a warning, instead of ending the training.

    Lightning's own empties the file before it writes it with a new column, and all that was in it would be lost.
    """

    @rank_zero_only
    def save(self) -> None:
        writer = self.experiment
        file, columns = Path(writer.metrics_file_path), list(writer.metrics_keys)
        before = file.read_bytes() if file.exists() else None
        try:
            super().save()
        except OSError as error:
            writer.metrics_keys = columns
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True) if before is None else file.write_bytes(before)
            rank_zero_warn(f"{file}: {error.strerror}; the values are kept, and written when there is room")


def build_loggers(track: Track, run: RunId, config: dict, job_type: str, revision: str | None) -> list[Logger]:
    """The loggers of a run.

    Args:
        track: `wandb` writes CSV files too.
        run: Names the run and its directory.
        config: The resolved configuration.
        job_type: `train`, `validate` or `test`.
        revision: The source's git revision.
    """
    # Its own numbering keeps what was logged before an interruption; CSVLogger empties a directory that it is given.
    loggers: list[Logger] = [] if track == "none" else [SafeCSVLogger(run.directory / "metrics", name=job_type)]
    return [*loggers, WandbTracker(run, config, job_type, revision)] if track == "wandb" else loggers
