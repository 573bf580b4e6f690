"""How fast a run trains and how much memory it takes."""

import time

import torch
from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs `train/pictures_per_second`, of all processes together, and on GPUs `train/gpu_memory_gib`, the first one's peak.

    Lightning's ThroughputMonitor waits for the GPU after every step, so that what it measures is slower for it; this one takes
    the time between two points that are logged, in which many steps lie.
    """

    def __init__(self):
        self.since = 0.0
        self.pictures = 0

    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        self._restart()

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        self._restart()

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs, batch: dict, batch_index: int) -> None:
        self.pictures += len(batch["image"]) * trainer.world_size
        interval = trainer.log_every_n_steps  # 0 for never
        if (batch_index + 1) % trainer.accumulate_grad_batches or not interval or trainer.global_step % interval:
            return
        task.log("train/pictures_per_second", self.pictures / (time.monotonic() - self.since))
        if task.device.type == "cuda":
            task.log("train/gpu_memory_gib", torch.cuda.max_memory_allocated(task.device) / 2**30)
        self._restart()

    def _restart(self) -> None:
        self.since, self.pictures = time.monotonic(), 0
