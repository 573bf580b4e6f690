"""The log of a run: what it printed, how far it is, and how it ended."""

import contextlib
import os
import re
import signal
from pathlib import Path

from refinenet_pl.exit_codes import STOPPED
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import is_locked

# As Lightning's progress bar writes it: "Epoch 3:  40%|####".
_EPOCH = re.compile(r"Epoch (\d+)(?:/(\d+))?:?(?:\s*(\d+)%)?")
_MAX_EPOCHS = re.compile(r"^\s*max_epochs: (\d+)$", re.MULTILINE)
_ENDED = re.compile(r"^-- ended with exit code (-?\d+) --$")
# A shell's and Python's way to say that a process was told to stop.
_TOLD_TO_STOP = (STOPPED, -signal.SIGTERM)


def log_file(run: RunId, rank: int = 0) -> Path:
    """The log of one of a run's processes; the first one's has what matters."""
    return run.directory / (f"log-rank{rank}.txt" if rank else "log.txt")


def note_end(run: RunId, code: int) -> None:
    """Write down how a run ended, for who looks later."""
    with contextlib.suppress(OSError), log_file(run).open("a") as log:  # a full disk is often why it ended
        log.write(f"\n-- ended with exit code {code} --\n")


def noted_end(run: RunId) -> int | None:
    """The exit code of a run that ended without success; None for one that was killed, together with what started it."""
    lines = tail(run, 200).splitlines()
    found = _ENDED.match(lines[-1]) if lines else None
    return int(found[1]) if found else None


def noted_since(run: RunId, start: int) -> int | None:
    """The first exit code that was noted behind a place in the log, whatever was printed after it; None for none."""
    found = [match for line in tail(run, 10**6, start).splitlines() if (match := _ENDED.match(line))]
    return int(found[0][1]) if found else None


def told_to_stop(code: int | None) -> bool:
    return code in _TOLD_TO_STOP


def describe_end(code: int) -> str:
    """An exit code in words."""
    if code == -signal.SIGKILL:
        return "killed (SIGKILL), perhaps for lack of memory"
    return f"killed ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"


def unfinished_state(run: RunId) -> tuple[str, str]:
    """What a run without results is doing, as far as its directory tells: a state's name, and a few words more."""
    if is_locked(run):
        return "running", progress(run)[0] or "starting"
    if not log_file(run).exists():
        return "not started", ""
    code = noted_end(run)
    if code is None or told_to_stop(code):
        return "stopped", "run it again to go on"
    reason = describe_end(code) if code else "ended without results"
    return "failed", f"{reason}: {(last_lines(run, 1) or ['nothing printed'])[0].strip()[:90]}"


def tail(run: RunId, characters: int, start: int = 0) -> str:
    """The end of what a run printed, from `start` on; a progress bar's older states are left out."""
    try:
        with log_file(run).open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - characters))
            text = log.read().decode(errors="replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return ""
    return "\n".join(line.rsplit("\r", 1)[-1] for line in text.split("\n"))


def last_lines(run: RunId, number: int, start: int = 0) -> list[str]:
    """The last lines that say something."""
    lines = [line for line in tail(run, 8000, start).splitlines() if line.strip() and not _ENDED.match(line)]
    return lines[-number:]


def progress(run: RunId, start: int = 0) -> tuple[str, float]:
    """How far a run is, in words and as a fraction, as far as the end of its log tells."""
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
