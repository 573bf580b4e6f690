"""Measurement of time, peak memory, multiply-adds and peak arithmetic throughput."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def in_turns(tasks: Mapping[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Time tasks in turns, in alternating order, so that drift of the machine's speed affects all tasks equally.

    Args:
        tasks: Tasks by name. Each is run once more for warm-up, without timing.
        device: Device of the tasks.
        rounds: Number of timed runs per task.

    Returns:
        `median_ms`, `min_ms` and `max_ms` over the rounds for each task, in milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for turn in range(rounds):
        for name in list(tasks)[:: 1 if turn % 2 == 0 else -1]:
            seconds[name].append(seconds_of(tasks[name], device))
    return {
        name: {
            "median_ms": round(1e3 * statistics.median(values), 2),
            "min_ms": round(1e3 * min(values), 2),
            "max_ms": round(1e3 * max(values), 2),
        }
        for name, values in seconds.items()
    }


def seconds_of(task: Callable[[], object], device: torch.device) -> float:
    """Time one run of a task in seconds, until the device has finished."""
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
    wait()
    start = time.perf_counter()
    task()
    wait()
    return time.perf_counter() - start


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module-level function in a new process, so that memory measurements start clean, and return its result."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def peak_memory(task: Callable[[], object], network: nn.Module, device: torch.device) -> int | None:
    """Measure peak memory of one run of a task, including its network's weights but not other memory of the process.

    Args:
        task: The task.
        network: Network of the task.
        device: Device of the task.

    Returns:
        Bytes: on CUDA devices, memory of torch's allocator; on CPUs, resident memory. None if the system is not Linux.
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
        ctypes.CDLL(None).malloc_trim(0)  # otherwise tensors reuse free heap memory, which is not counted
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _kibibytes("VmRSS")
        task()
        return (_kibibytes("VmHWM") - before) * 1024 + weights
    except (OSError, AttributeError):
        return None


def multiply_adds(network: nn.Module, image: Tensor) -> int:
    """Count the multiply-adds of the convolutions and matrix products of one forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() // 2


def device_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measure peak throughput in floating-point operations per second: a matrix product or 3x3 convolution, the faster one."""
    side, maps = (8192, 64) if device.type == "cuda" else (2048, 1)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(maps, 256, 128, 128, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernels = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    operations = {"product": 2 * side**3, "convolution": 2 * 9 * 256 * 256 * x[:, 0].numel()}
    with torch.inference_mode():
        times = in_turns({"product": lambda: a @ b, "convolution": lambda: F.conv2d(x, kernels, padding=1)}, device, 9)
    return max(1e3 * operations[name] / times[name]["median_ms"] for name in operations)


def noise(number: int, size: int, device: torch.device) -> Tensor:
    """Generate random images, float32 (number, 3, size, size), channels last."""
    return torch.randn(number, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)


def _kibibytes(field: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])
