"""Log of a run: its output, progress and exit code."""

import contextlib
import os
import re
import signal
from pathlib import Path

from refinenet_pl.exit_codes import STOPPED
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import is_locked

# Format of Lightning's progress bar: "Epoch 3:  40%|####".
_EPOCH = re.compile(r"Epoch (\d+)(?:/(\d+))?:?(?:\s*(\d+)%)?")
_MAX_EPOCHS = re.compile(r"^\s*max_epochs: (\d+)$", re.MULTILINE)
_ENDED = re.compile(r"^-- ended with exit code (-?\d+) --$")
# Exit codes after SIGTERM: our own and that of Python's subprocess module.
_INTERRUPTED = (STOPPED, -signal.SIGTERM)


def log_file(run: RunId, rank: int = 0) -> Path:
    """Log of one process of a run; rank 0 writes the main log."""
    return run.directory / (f"log-rank{rank}.txt" if rank else "log.txt")


def note_end(run: RunId, code: int) -> None:
    """Append the exit code to the run's log."""
    with contextlib.suppress(OSError), log_file(run).open("a") as log:  # a full disk may be the reason for the exit
        log.write(f"\n-- ended with exit code {code} --\n")


def noted_end(run: RunId) -> int | None:
    """Exit code on the last line of the log; None if the run and its launcher were killed."""
    lines = tail(run, 200).splitlines()
    found = _ENDED.match(lines[-1]) if lines else None
    return int(found[1]) if found else None


def noted_since(run: RunId, start: int) -> int | None:
    """First exit code in the log after byte offset `start`, even if more output follows; None if there is none."""
    found = [match for line in tail(run, 10**6, start).splitlines() if (match := _ENDED.match(line))]
    return int(found[0][1]) if found else None


def interrupted(code: int | None) -> bool:
    """True for the exit codes of a training that received SIGTERM."""
    return code in _INTERRUPTED


def describe_end(code: int) -> str:
    """Describe an exit code in words."""
    if code == -signal.SIGKILL:
        return "killed (SIGKILL), possibly out of memory"
    return f"killed ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"


def unfinished_state(run: RunId) -> tuple[str, str]:
    """Infer the state of a run without results from its directory.

    Returns:
        `running`, `not started`, `stopped` or `failed`, and a short explanation.
    """
    if is_locked(run):
        return "running", progress(run)[0] or "starting"
    if not log_file(run).exists():
        return "not started", ""
    code = noted_end(run)
    if code is None or interrupted(code):
        return "stopped", "run it again to resume"
    reason = describe_end(code) if code else "ended without results"
    return "failed", f"{reason}: {(last_lines(run, 1) or ['no output'])[0].strip()[:90]}"


def tail(run: RunId, characters: int, start: int = 0) -> str:
    """End of a run's log after byte offset `start`, without overwritten states of progress bars."""
    try:
        with log_file(run).open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - characters))
            text = log.read().decode(errors="replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return ""
    return "\n".join(line.rsplit("\r", 1)[-1] for line in text.split("\n"))


def last_lines(run: RunId, number: int, start: int = 0) -> list[str]:
    """Last nonblank lines of a run's log, without exit codes."""
    lines = [line for line in tail(run, 8000, start).splitlines() if line.strip() and not _ENDED.match(line)]
    return lines[-number:]


def progress(run: RunId, start: int = 0) -> tuple[str, float]:
    """Read the progress of a run from the end of its log.

    Returns:
        Progress in words, and as a fraction from 0 to 1. An empty string and 0 if the log shows no progress.
    """
    found = _EPOCH.findall(tail(run, 4000, start))
    if not found:
        return "", 0.0
    epoch, epochs, percent = found[-1]
    config = run.directory / "config.yaml"
    if not epochs and config.exists():
        epochs = next(iter(_MAX_EPOCHS.findall(config.read_text(encoding="utf-8"))), "")
    if not epochs:
        return f"epoch {epoch}", 0.0
    fraction = (int(epoch) + int(percent or 0) / 100) / max(1, int(epochs))
    return f"epoch {epoch}/{epochs}", min(fraction, 1.0)
