"""Commands in processes that are forked from a server with all imports, which take most of the time of a short training.

Only the start differs from `python -m refinenet_pl`: a session of its own, no standard input, the arguments, working directory
and environment of a new process, its exit code and its exit handlers. Processes that a command starts itself are new ones.
"""

import atexit
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

SERVER = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Start the server of this process, before the package starts one with fewer imports.

    Its number of threads is that of the commands, because torch reads the variable only when it is imported.
    """
    SERVER.set_forkserver_preload(["refinenet_pl.cli.training"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        multiprocessing.forkserver.ensure_running()


class ForkedCommand:
    """A command in a forked process, with the interface of `subprocess.Popen` as far as the tests use it.

    Args:
        arguments: Arguments of `refinenet`.
        directory: Working directory.
        environment: All environment variables.

    Attributes:
        pid: Process, and process group.
        stdout: Standard output and standard error.
    """

    def __init__(self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]):
        reader, writer = SERVER.Pipe(duplex=False)
        default = multiprocessing.get_start_method()
        self._process = SERVER.Process(target=_main, args=(arguments, str(directory), dict(environment), default, writer))
        self._process.start()
        writer.close()
        self.pid = self._process.pid
        self.stdout = os.fdopen(os.dup(reader.fileno()))
        reader.close()

    @property
    def returncode(self) -> int | None:
        """Exit code, -N after signal N, None while the process runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("refinenet", timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for the end, and return the rest of the output."""
        parts: list[str] = []
        reader = threading.Thread(target=lambda: parts.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired("refinenet", timeout)
        self.wait()
        return parts[0], None

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        self.send_signal(signal.SIGKILL)


def _main(arguments: Sequence[str], directory: str, environment: dict[str, str], start_method: str, output: Connection) -> None:
    os.setsid()
    multiprocessing.set_start_method(start_method, force=True)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["refinenet_pl", *arguments]
    try:
        runpy.run_module("refinenet_pl", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without them
