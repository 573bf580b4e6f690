"""Training speed and GPU memory of a run."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs `train/images_per_second`, summed over all processes, and on GPUs `train/gpu_memory_gib`, the first process's peak.

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
        task.log("train/images_per_second", self.images / (time.monotonic() - self.since))
        if task.device.type == "cuda":
            task.log("train/gpu_memory_gib", torch.cuda.max_memory_allocated(task.device) / 2**30)
        self._restart()

    def _restart(self) -> None:
        self.since, self.images = time.monotonic(), 0
