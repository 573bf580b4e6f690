"""Throughput callback with a fake clock and a fake GPU."""

from types import SimpleNamespace

import pytest
import torch

from refinenet_pl.callbacks import throughput


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_throughput_and_memory(device, monkeypatch):
    clock, logged = iter(range(0, 1000, 2)), []
    monkeypatch.setattr(throughput.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    task = SimpleNamespace(device=torch.device(device), log=lambda name, value: logged.append((name, value)))
    trainer = SimpleNamespace(world_size=2, accumulate_grad_batches=2, log_every_n_steps=3, global_step=0)
    callback = throughput.Throughput()
    callback.on_train_epoch_start(trainer, task)
    for index in range(6):  # three steps of two batches, with four images on each of two processes
        trainer.global_step += index % 2
        callback.on_train_batch_end(trainer, task, None, {"image": torch.zeros(4, 3, 2, 2)}, index)
    memory = [("train/gpu_memory_gib", 3.0)] if device == "cuda" else []
    assert logged == [("train/images_per_second", 6 * 4 * 2 / 2), *memory]
    callback.on_validation_end(trainer, task)
    assert callback.images == 0
