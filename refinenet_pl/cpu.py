"""CPU resources of this process."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_pool(workers: int, **arguments: Any) -> ProcessPoolExecutor:
    """Start processes that are not copies of this one.

    A forked copy of a process with threads, which torch and W&B start, can wait forever for a lock that one of them held.

    Args:
        workers: Number of processes.
        arguments: Further arguments of `ProcessPoolExecutor`; functions and their arguments must be picklable.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # Imported once for all processes, because torch takes seconds to import.
        context.set_forkserver_preload(["refinenet_pl.datasets.base"])
    return ProcessPoolExecutor(workers, mp_context=context, **arguments)
