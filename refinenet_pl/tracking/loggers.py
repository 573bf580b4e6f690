"""Where a run's values go: W&B, CSV files, or nowhere."""

from typing import Literal

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_warn

from refinenet_pl.tracking.run import Run
from refinenet_pl.tracking.wandb import WandbTracker

Track = Literal["wandb", "csv", "none"]


class SafeCSVLogger(CSVLogger):
    """CSV files that a full disk leaves incomplete, with a warning, instead of ending the training."""

    def save(self) -> None:
        try:
            super().save()
        except OSError as error:
            rank_zero_warn(f"{self.log_dir}/metrics.csv: {error.strerror}; its values are kept and written when there is room")


def build_loggers(track: Track, run: Run, config: dict, job_type: str, revision: str | None) -> list[Logger]:
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
