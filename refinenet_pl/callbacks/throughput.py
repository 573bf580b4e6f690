"""Training speed and memory of a run."""

import sys
import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs `speed/images_per_second`, summed over all processes, and the first process's peaks of memory in GiB.

    These are `memory/cpu_gib`, except on Windows, and on GPUs `memory/gpu_gib`.

    Lightning's ThroughputMonitor synchronizes with the GPU after every step, which slows down the training that it measures.
    This callback measures the time between two logged steps.
    """

    def __init__(self) -> None:
        self.since = 0.0
        self.images = 0

    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Restart the measurement."""
        self._restart()

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        """Restart the measurement, so that validation time does not count."""
        self._restart()

    def on_train_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: dict[str, Any], batch_index: int
    ) -> None:
        """Count the batch's images, and log if its optimizer step is logged."""
        self.images += len(batch["image"]) * trainer.world_size
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it outside the class; 0 for never
        if (batch_index + 1) % trainer.accumulate_grad_batches or not interval or trainer.global_step % interval:
            return
        task.log("speed/images_per_second", self.images / (time.monotonic() - self.since))
        if task.device.type == "cuda":
            task.log("memory/gpu_gib", torch.cuda.max_memory_allocated(task.device) / 2**30)
        if (peak := peak_memory()) is not None:
            task.log("memory/cpu_gib", peak / 2**30)
        self._restart()

    def _restart(self) -> None:
        self.since, self.images = time.monotonic(), 0


def peak_memory() -> int | None:
    """Return the peak of this process's main memory in bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
