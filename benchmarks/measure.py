"""Clocks and scales: time in turns, peak memory, multiply-adds, and what the device can do at most."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def in_turns(tasks: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Run tasks in turns, forwards and backwards alternately, so that a drift of the machine's speed meets them all alike.

    Returns:
        Seconds of each task in each round; a first run of each does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for turn in range(rounds):
        for name in list(tasks)[:: 1 if turn % 2 == 0 else -1]:
            seconds[name].append(seconds_of(tasks[name], device))
    return seconds


def seconds_of(task: Callable[[], object], device: torch.device) -> float:
    """How long one run of a task takes."""
    wait(device)
    start = time.perf_counter()
    task()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(task: Callable[[], object], network: nn.Module, device: torch.device) -> int | None:
    """Bytes that a network and one run of a task with it take at most, whatever else the process holds.

    On CPUs the process's resident memory as Linux counts it; None on other systems.
    """
    weights = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        task()
        return torch.cuda.max_memory_allocated(device) - before + weights
    try:
        give_back_memory()
        Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew
        before = _kibibytes("VmRSS")
        task()
        return (_kibibytes("VmHWM") - before) * 1024 + weights
    except OSError:
        return None


def give_back_memory() -> None:
    """Undo `refinenet_pl.memory.keep_freed_memory`, and give what is free back to the system."""
    library = ctypes.CDLL(None)
    for parameter in (-1, -3):
        library.mallopt(parameter, 128 * 1024)
    library.malloc_trim(0)


def _kibibytes(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0])


def multiply_adds(network: nn.Module, picture: torch.Tensor) -> int:
    """Of convolutions and matrix products in one forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(picture)
    return counter.get_total_flops() // 2


def device_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product, or of a 3x3 convolution of 256 channels if that is faster.

    Both, for a convolution is a matrix product as well, and on CPUs another library computes it.
    """
    side, maps = (8192, 64) if device.type == "cuda" else (2048, 1)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(maps, 256, 128, 128, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernels = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    operations = {"product": 2 * side**3, "convolution": 2 * 9 * 256 * 256 * x[:, 0].numel()}
    with torch.inference_mode():
        tasks = {"product": lambda: a @ b, "convolution": lambda: F.conv2d(x, kernels, padding=1)}
        seconds = in_turns(tasks, device, rounds=9)
    return max(operations[name] / statistics.median(values) for name, values in seconds.items())


def summary(seconds: list[float]) -> dict[str, float]:
    """Median and spread, in milliseconds."""
    return {
        "median_ms": round(1e3 * statistics.median(seconds), 2),
        "least_ms": round(1e3 * min(seconds), 2),
        "greatest_ms": round(1e3 * max(seconds), 2),
    }
