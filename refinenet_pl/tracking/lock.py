"""One process at a time trains a run, on all machines that share its directory; a dead process holds no lock."""

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import IO

from refinenet_pl.tracking.identity import RunId


class RunBusyError(RuntimeError):
    """Another process trains the run; the message says which."""


def lock_run(run: RunId) -> IO[str]:
    """Take the lock of a run's directory, which is made where it is not there.

    Returns:
        The open lock file. The lock is held until it is closed or this process ends, however it ends.

    Raises:
        RunBusyError: Another process holds it.
        OSError: The directory cannot be written.
    """
    run.directory.mkdir(parents=True, exist_ok=True)
    file = _lock_file(run).open("a+")
    until = time.monotonic() + 0.5  # `is_locked` holds it for an instant
    while not _try(file):
        if time.monotonic() > until:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise RunBusyError(f"{run.directory} is being trained by {holder}")
        time.sleep(0.05)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def is_locked(run: RunId) -> bool:
    """Whether another process trains the run now. Not to be asked by the process that does: it would lose its lock."""
    try:
        with _lock_file(run).open("r+") as file:
            return not _try(file)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _try(file: IO[str]) -> bool:
    try:
        # Of the process, not of the open file: data loaders that are forked and outlive a kill by seconds do not hold it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # which of the two is up to the file system
        return False
    return True


def _lock_file(run: RunId) -> Path:
    return run.directory / "lock"
