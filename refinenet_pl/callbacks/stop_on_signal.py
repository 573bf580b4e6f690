"""Graceful stop on SIGTERM, which clusters send before they take a machine away."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from refinenet_pl.exit_codes import STOPPED
from refinenet_pl.launchers import launched_elsewhere
from refinenet_pl.tracking.identity import LAST


def end_on_signal() -> None:
    """Make SIGTERM end this process with exit code 143; `StopOnSignal` replaces this handler during training."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(STOPPED))


class StopOnSignal(Callback):
    """Writes `last.ckpt` after the current step and exits with code 143; the run resumes from that step.

    Lightning's own handler communicates with the other processes from within the signal handler, at whatever point they are,
    and saves no checkpoint.

    Args:
        directory: Directory of `last.ckpt`; None to save nothing.
    """

    def __init__(self, directory: Path | None):
        self.directory = directory
        self.signaled = False
        self.saved = False

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Install the signal handler, in place of the one that Lightning installs just before this hook."""
        signal.signal(signal.SIGTERM, self._remember)

    def on_train_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: dict[str, Any], batch_index: int
    ) -> None:
        """Save a checkpoint after a whole optimizer step if any process received the signal."""
        number = batch_index + 1
        # After the last batch, the epoch first ends with its validation; a checkpoint cannot be written in the middle of that.
        whole = number % trainer.accumulate_grad_batches == 0 and number < trainer.num_training_batches
        if whole and self._any_signaled(trainer):
            if self.directory:
                trainer.save_checkpoint(self.directory / LAST, weights_only=False)
            self.saved = True

    def on_train_batch_start(self, trainer: Trainer, task: LightningModule, batch: dict[str, Any], batch_index: int) -> None:
        """Stop if a checkpoint was saved; not earlier, because Lightning logs a step's values after `on_train_batch_end`."""
        if self.saved:
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Stop between epochs if any process received the signal."""
        self._stop_if_signaled(trainer)

    def on_train_end(self, trainer: Trainer, task: LightningModule) -> None:
        """Stop after the last epoch if any process received the signal."""
        self._stop_if_signaled(trainer)

    def on_validation_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Let the signal end an evaluation at once."""
        if trainer.state.fn == "validate":
            end_on_signal()

    def on_test_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Let the signal end an evaluation at once."""
        end_on_signal()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signaled = True

    def _any_signaled(self, trainer: Trainer) -> bool:
        """Test if any process received the signal. All processes call this together, because all must stop after one step."""
        return trainer.strategy.reduce_boolean_decision(self.signaled, all=False)

    def _stop_if_signaled(self, trainer: Trainer) -> None:
        if self._any_signaled(trainer):  # the epoch's own checkpoint has just been written
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            print(f"stopped by SIGTERM after step {trainer.global_step}; run the same command again to resume", flush=True)
        # Lightning kills the first process if one that it started itself ends with another code than 0.
        sys.exit(STOPPED if trainer.is_global_zero or launched_elsewhere() else 0)
