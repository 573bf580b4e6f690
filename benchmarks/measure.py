"""Time in turns, peak memory, multiply-adds, and the fastest arithmetic of a device."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def in_turns(tasks: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Time tasks in turns, forwards and backwards alternately, so that a drift of the machine's speed affects all alike.

    Returns:
        For each task `median_ms`, `min_ms` and `max_ms` over the rounds, in milliseconds; a first run of each does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for turn in range(rounds):
        for name in list(tasks)[:: 1 if turn % 2 == 0 else -1]:
            seconds[name].append(seconds_of(tasks[name], device))
    spread = {"median_ms": statistics.median, "min_ms": min, "max_ms": max}
    return {name: {key: round(1e3 * of(values), 2) for key, of in spread.items()} for name, values in seconds.items()}


def seconds_of(task: Callable[[], object], device: torch.device) -> float:
    """Seconds that one run of a task takes, until the device has finished."""
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
    wait()
    start = time.perf_counter()
    task()
    wait()
    return time.perf_counter() - start


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Result of a function of a module, called in a new process, whose memory holds nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def peak_memory(task: Callable[[], object], network: nn.Module, device: torch.device) -> int | None:
    """Peak memory of one run of a task and the weights of its network, in bytes, without what else the process holds.

    On CUDA devices, memory of torch's allocator. On CPUs, resident memory as Linux counts it; None on other systems.
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
        ctypes.CDLL(None).malloc_trim(0)  # or tensors would fill what is free, and would not be counted
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _kibibytes("VmRSS")
        task()
        return (_kibibytes("VmHWM") - before) * 1024 + weights
    except (OSError, AttributeError):
        return None


def multiply_adds(network: nn.Module, image: Tensor) -> int:
    """Multiply-adds of the convolutions and matrix products of one forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() // 2


def device_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large matrix product or a wide 3x3 convolution, whichever is faster."""
    side, maps = (8192, 64) if device.type == "cuda" else (2048, 1)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(maps, 256, 128, 128, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernels = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    operations = {"product": 2 * side**3, "convolution": 2 * 9 * 256 * 256 * x[:, 0].numel()}
    with torch.inference_mode():
        times = in_turns({"product": lambda: a @ b, "convolution": lambda: F.conv2d(x, kernels, padding=1)}, device, 9)
    return max(1e3 * operations[name] / times[name]["median_ms"] for name in operations)


def noise(number: int, size: int, device: torch.device) -> Tensor:
    """Random images, float32 (number, 3, size, size), channels last."""
    return torch.randn(number, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)


def _kibibytes(field: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])
