"""Throughput callback with a fake clock and a fake GPU."""

import sys
from types import SimpleNamespace

import pytest
import torch

from refinenet_pl.callbacks import throughput


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_throughput_and_memory(device, monkeypatch):
    clock, logged = iter(range(0, 1000, 2)), []
    monkeypatch.setattr(throughput.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(throughput, "peak_memory", lambda: 2 * 2**30)
    task = SimpleNamespace(device=torch.device(device), log=lambda name, value: logged.append((name, value)))
    trainer = SimpleNamespace(world_size=2, accumulate_grad_batches=2, log_every_n_steps=3, global_step=0)
    callback = throughput.Throughput()
    callback.on_train_epoch_start(trainer, task)
    for index in range(6):  # three steps of two batches, with four images on each of two processes
        trainer.global_step += index % 2
        callback.on_train_batch_end(trainer, task, None, {"image": torch.zeros(4, 3, 2, 2)}, index)
    memory = [("memory/gpu_gib", 3.0)] if device == "cuda" else []
    assert logged == [("speed/images_per_second", 6 * 4 * 2 / 2), *memory, ("memory/cpu_gib", 2.0)]
    callback.on_validation_end(trainer, task)
    assert callback.images == 0


@pytest.mark.skipif(sys.platform == "win32", reason="not measured on Windows")
def test_peak_memory_grows_with_allocations():
    before = throughput.peak_memory()
    ones = torch.ones(before // 4 + 2**25)  # more than this process ever had
    assert throughput.peak_memory() > before and ones[-1] == 1
