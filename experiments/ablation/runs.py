"""Running what is missing of a table."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from tqdm import tqdm

from experiments.ablation.comparison import get
from experiments.ablation.jobs import ROOT, Job
from experiments.ablation.records import RecordError, read_record
from experiments.ablation.report import duration
from refinenet_pl.tracking.run import Run

# How long a run that was told to stop may take to put its last checkpoint down.
GRACE_SECONDS = 20.0
# As Lightning's progress bar writes it: "Epoch 3:  40%|####".
_EPOCH = re.compile(r"Epoch (\d+)(?:/(\d+))?:?(?:\s*(\d+)%)?")
_MAX_EPOCHS = re.compile(r"^\s*max_epochs: (\d+)$", re.MULTILINE)


@dataclass
class Outcome:
    """What became of the runs of one call."""

    done: list[Run] = field(default_factory=list)
    failed: list[Run] = field(default_factory=list)
    elsewhere: list[Run] = field(default_factory=list)
    stopped: bool = False


@dataclass
class _Active:
    run: Run
    process: subprocess.Popen
    slot: int
    log: IO[bytes]
    log_start: int
    started: float


class Runner:
    """Runs jobs as processes, at most `slots` at a time.

    A run's output goes to `log.txt` in its directory. That file is locked as long as the run lives, even when this process is
    killed, so that the same run is never started twice on one machine. Ctrl-C, SIGTERM and SIGHUP end the runs as well.

    Args:
        slots: Number of runs at a time. CPU threads and the GPUs named in CUDA_VISIBLE_DEVICES are divided among them.
        command_prefix: The training program, to which a job's arguments are added.
    """

    def __init__(self, slots: int = 1, command_prefix: Sequence[str] = (sys.executable, "-m", "refinenet_pl")):
        self.slots = slots
        self.command_prefix = list(command_prefix)
        self.active: list[_Active] = []
        self.outcome = Outcome()
        self.signals = 0

    def __call__(self, jobs: list[Job]) -> Outcome:
        """Run the jobs that have no results yet."""
        waiting = [job for job in jobs if not job.run.results_file.exists()]
        self.outcome.done = [job.run for job in jobs if job.run.results_file.exists()]
        handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        # Without a terminal there is no bar, only a line for each run.
        form = "{l_bar}{bar}| {n:.1f}/{total} runs [{elapsed}<{remaining}{postfix}]"
        with tqdm(total=len(jobs), initial=len(self.outcome.done), disable=None, bar_format=form) as bar:
            try:
                while (waiting or self.active) and not self.signals:
                    while waiting and len(self.active) < self.slots and not self.signals:
                        self._start(waiting.pop(0))
                    self._collect(bar)
                    time.sleep(0.1)
            finally:
                self._stop()
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        self.outcome.stopped = self.signals > 0
        return self.outcome

    def _on_signal(self, number, frame):
        self.signals += 1

    def _start(self, job: Job):
        run = job.run
        run.directory.mkdir(parents=True, exist_ok=True)
        log = open(run.directory / "log.txt", "ab")  # noqa: SIM115 - closed when the run has ended
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.close()
            self.outcome.elsewhere.append(run)
            _say(f"{run.name}: another process is running it")
            return
        slot = min(set(range(self.slots)) - {active.slot for active in self.active})
        log.seek(0, os.SEEK_END)
        start = log.tell()
        try:
            # A session of its own: its data loaders can be ended with it, and Ctrl-C reaches it through this process only.
            process = subprocess.Popen(
                [*self.command_prefix, *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(slot, self.slots),
                start_new_session=True,
            )
        except OSError:
            log.close()
            raise
        self.active.append(_Active(run, process, slot, log, start, time.monotonic()))

    def _collect(self, bar: tqdm):
        """Report runs that have ended, and show how far the others are."""
        for active in [active for active in self.active if active.process.poll() is not None]:
            self.active.remove(active)
            active.log.close()
            problem = _problem(active)
            if problem:
                self.outcome.failed.append(active.run)
                _say(problem)
            else:
                self.outcome.done.append(active.run)
                _say(f"{_done(active)}; {len(self.outcome.done)} of {bar.total} runs done")
        if bar.disable:
            return
        progress = [_progress(active) for active in self.active]
        ended = len(self.outcome.done) + len(self.outcome.failed) + len(self.outcome.elsewhere)
        bar.n = ended + sum(fraction for _, fraction in progress)
        bar.set_postfix_str(", ".join(text for text, _ in progress), refresh=False)
        bar.refresh()

    def _stop(self):
        """End what still runs: politely first; at once after a second signal or when the grace is over."""
        until = time.monotonic() + GRACE_SECONDS
        for active in self.active:
            _signal_group(active.process, signal.SIGTERM)
        while any(active.process.poll() is None for active in self.active):
            if self.signals > 1 or time.monotonic() > until:
                break
            time.sleep(0.05)
        for active in self.active:
            # Sent to those that have ended too: their data loaders may outlive them, and are in the same group.
            _signal_group(active.process, signal.SIGKILL)
            active.process.wait()
            active.log.close()
        self.active = []


def _signal_group(process: subprocess.Popen, number: int):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _environment(slot: int, slots: int) -> dict[str, str]:
    environment = dict(os.environ)
    # The package may be used without being installed, and from any working directory.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    environment["PYTHONUNBUFFERED"] = "1"
    if slots > 1:
        # Otherwise each run takes a thread for every core, and all of them wait for each other.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // slots)))
        devices = [device for device in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices[slot::slots] or [devices[slot % len(devices)]])
    return environment


def _tail(active: _Active, characters: int) -> str:
    """The end of what the run wrote since it was started now; a progress bar's older states are left out."""
    with open(active.run.directory / "log.txt", "rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(active.log_start, size - characters))
        text = log.read().decode(errors="replace").replace("\r\n", "\n")
    return "\n".join(line.rsplit("\r", 1)[-1] for line in text.split("\n"))


def _progress(active: _Active) -> tuple[str, float]:
    """In words and as a fraction, as far as the end of the log tells."""
    found = _EPOCH.findall(_tail(active, 4000))
    if not found:
        return active.run.name, 0.0
    epoch, epochs, percent = found[-1]
    config = active.run.directory / "config.yaml"
    if not epochs and config.exists():
        epochs = next(iter(_MAX_EPOCHS.findall(config.read_text(encoding="utf-8"))), "")
    if not epochs:
        return f"{active.run.name} epoch {epoch}", 0.0
    fraction = (int(epoch) + int(percent or 0) / 100) / max(1, int(epochs))
    return f"{active.run.name} epoch {epoch}/{epochs}", min(fraction, 1.0)


def _done(active: _Active) -> str:
    miou = get(read_record(active.run), "evaluations", "val", "miou")
    figure = f", {100 * miou:.1f} % mIoU on val" if isinstance(miou, (int, float)) else ""
    return f"{active.run.name}: {duration(time.monotonic() - active.started)}{figure}"


def _problem(active: _Active) -> str | None:
    """Why an ended run has failed, with the end of its log; None when all is well."""
    code = active.process.returncode
    reason = f"exit code {code}" if code else ""
    if not reason:
        try:
            reason = "" if read_record(active.run) else "it ended without writing results.json"
        except RecordError as error:
            reason = str(error)
    if not reason:
        return None
    lines = [line for line in _tail(active, 8000).splitlines() if line.strip()][-15:]
    text = "".join(f"\n  | {line}" for line in lines)
    return f"{active.run.name}: FAILED, {reason}; the end of {active.run.directory / 'log.txt'}:{text}"


def _say(text: str):
    """Above the progress bar, and at once where the output goes to a file."""
    tqdm.write(text)
    sys.stdout.flush()
