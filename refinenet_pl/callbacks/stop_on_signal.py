"""Stopping when told to (SIGTERM, as clusters send it before they take a machine away) without losing what was trained."""

import signal
import sys
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from refinenet_pl.exit_codes import STOPPED
from refinenet_pl.launchers import launched_elsewhere
from refinenet_pl.tracking.identity import LAST


def end_on_signal() -> None:
    """Make SIGTERM end this process with the code that says so; `StopOnSignal` replaces this while a network is trained."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(STOPPED))


class StopOnSignal(Callback):
    """Writes `last.ckpt` after the step at hand and ends with exit code 143; the run goes on exactly there.

    Lightning's own handling talks to the other processes from within the signal handler, wherever they are at that moment, and
    saves nothing.

    Args:
        directory: Where `last.ckpt` lies; None to save nothing.
    """

    def __init__(self, directory: Path | None):
        self.directory = directory
        self.told = False
        self.saved = False

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        # Here, for Lightning installs its own just before.
        signal.signal(signal.SIGTERM, self._remember)

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs, batch, batch_index: int) -> None:
        number = batch_index + 1
        # After the last batch the epoch is finished first, with its validation; a checkpoint cannot be in the middle of that.
        whole = number % trainer.accumulate_grad_batches == 0 and number < trainer.num_training_batches
        if whole and self._all_told(trainer):
            if self.directory:
                trainer.save_checkpoint(self.directory / LAST, weights_only=False)
            self.saved = True

    def on_train_batch_start(self, trainer: Trainer, task: LightningModule, batch, batch_index: int) -> None:
        if self.saved:  # only now, for the step's values are logged after the end of its batch
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        self._stop_if_told(trainer)

    def on_train_end(self, trainer: Trainer, task: LightningModule) -> None:
        self._stop_if_told(trainer)

    def on_validation_start(self, trainer: Trainer, task: LightningModule) -> None:
        if trainer.state.fn == "validate":
            end_on_signal()

    def on_test_start(self, trainer: Trainer, task: LightningModule) -> None:
        end_on_signal()

    def _remember(self, number: int, frame) -> None:
        self.told = True

    def _all_told(self, trainer: Trainer) -> bool:
        """Whether any process was told; asked by all at the same time, for all must stop after the same step."""
        return trainer.strategy.reduce_boolean_decision(self.told, all=False)

    def _stop_if_told(self, trainer: Trainer) -> None:
        if self._all_told(trainer):  # the epoch's own checkpoint has just been written
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            print(f"told to stop after step {trainer.global_step}; start the same command again to go on", flush=True)
        # Lightning kills the first process where one that it started itself ends with another code than 0.
        sys.exit(STOPPED if trainer.is_global_zero or launched_elsewhere() else 0)
