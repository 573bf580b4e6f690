"""Lock of a run, held by the process that trains it, on all machines that share its directory."""

import os
import socket
import sys
import time
from pathlib import Path
from typing import IO

from refinenet_pl.tracking.identity import RunId

# The byte that is locked on Windows, after the contents: others cannot read a locked byte there.
_LOCKED_BYTE = 2**30


class RunBusyError(RuntimeError):
    """Another process is training the run; the message names it."""


def lock_run(run: RunId) -> IO[str]:
    """Lock a run's directory, which is created if it does not exist.

    Returns:
        The open lock file. The lock is held until the file is closed or this process ends in any way.

    Raises:
        RunBusyError: Another process holds the lock.
        OSError: The directory cannot be written.
    """
    run.directory.mkdir(parents=True, exist_ok=True)
    file = _lock_file(run).open("a+")
    until = time.monotonic() + 0.5  # `is_locked` holds the lock for an instant
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
    """Test if another process is training the run. Do not call it in the process that is: that one would lose its lock."""
    try:
        with _lock_file(run).open("r+") as file:
            return not _try(file)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _try(file: IO[str]) -> bool:
    # A lock of the process, not of the open file like those of the package filelock: forked data loaders, which outlive a kill
    # by seconds, do not hold it. Windows has no forks, and the system releases its locks with the process as well.
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            file.seek(0)
            os.lockf(file.fileno(), os.F_TLOCK, 0)  # from there to the end
    except (BlockingIOError, PermissionError):  # depending on the file system
        return False
    return True


def _lock_file(run: RunId) -> Path:
    return run.directory / "lock"
