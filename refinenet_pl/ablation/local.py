"""Local engine: trains the missing runs of a table on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO

from tqdm import tqdm

from refinenet_pl.ablation.comparison import get
from refinenet_pl.ablation.devices import Placement
from refinenet_pl.ablation.logs import describe_end, interrupted, last_lines, log_file, note_end, progress
from refinenet_pl.ablation.plan import Job
from refinenet_pl.ablation.records import RecordError, read_record
from refinenet_pl.ablation.rendering import duration
from refinenet_pl.ablation.scores import headline
from refinenet_pl.exit_codes import BUSY, DIVERGED, STOPPED
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import is_locked

# Time for a run to save its last checkpoint after SIGTERM.
GRACE_SECONDS = 20.0
# Interval between checks of runs that other processes train.
POLL_SECONDS = 1.0


@dataclass
class Outcome:
    """Outcome of the jobs of one call.

    Attributes:
        done: Runs with results.
        failed: Runs that ended with an error.
        interrupted: Runs that received SIGTERM from another process.
        stopped: True if the runner itself received a signal.
    """

    done: list[RunId] = field(default_factory=list)
    failed: list[RunId] = field(default_factory=list)
    interrupted: list[RunId] = field(default_factory=list)
    stopped: bool = False


@dataclass
class _Active:
    job: Job
    process: subprocess.Popen[bytes]
    slot: int
    log: IO[bytes]
    log_start: int
    started: float

    @property
    def run(self) -> RunId:
        return self.job.run


class Runner:
    """Runs jobs as processes, at most one per slot.

    The output of a run is appended to `log.txt` in its directory. If another process already trains a run, the runner waits for
    it, and takes over if that process dies without results. Ctrl-C, SIGTERM and SIGHUP also stop the runs.

    Args:
        placement: Number of concurrent runs and the resources of each.
        command_prefix: Training command, to which the arguments of a job are appended.
    """

    def __init__(
        self,
        placement: Placement,
        command_prefix: Sequence[str] = (sys.executable, "-m", "refinenet_pl"),
    ) -> None:
        self.placement = placement
        self.command_prefix = list(command_prefix)
        self.active: list[_Active] = []
        self.elsewhere: list[Job] = []  # jobs that other processes train
        self.announced: set[RunId] = set()
        self.last_poll = 0.0
        self.outcome = Outcome()
        self.signals = 0

    def __call__(self, jobs: list[Job]) -> Outcome:
        """Run the jobs that do not have results."""
        self.outcome.done = [job.run for job in jobs if job.run.results_file.exists() or read_record(job.run)]
        waiting = [job for job in jobs if job.run not in self.outcome.done]
        handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        # tqdm is disabled if the output is not a terminal.
        form = "{l_bar}{bar}| {n:.1f}/{total} runs [{elapsed}<{remaining}{postfix}]"
        with tqdm(total=len(jobs), initial=len(self.outcome.done), disable=None, bar_format=form) as bar:
            try:
                while (waiting or self.active or self.elsewhere) and not self.signals:
                    while waiting and len(self.active) < self.placement.slots and not self.signals:
                        self._try_to_start(waiting.pop(0))
                    self._collect(bar)
                    waiting += self._free(bar)
                    time.sleep(0.1)
            finally:
                self._stop()
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        self.outcome.stopped = self.signals > 0
        return self.outcome

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1

    def _try_to_start(self, job: Job) -> None:
        try:
            self._start(job)
        except OSError as error:  # for example, a full disk
            self.outcome.failed.append(job.run)
            _say(f"{job.run.name}: FAILED, {error}")

    def _start(self, job: Job) -> None:
        run = job.run
        if is_locked(run):
            self._leave(job)
            return
        run.directory.mkdir(parents=True, exist_ok=True)
        log = log_file(run).open("ab")
        slot = min(set(range(self.placement.slots)) - {active.slot for active in self.active})
        log.seek(0, os.SEEK_END)
        start = log.tell()
        try:
            # In a new session, so that its data loaders end with it and Ctrl-C reaches it only through this process.
            process = subprocess.Popen(
                [*self.command_prefix, *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.placement.environment(slot),
                start_new_session=True,
            )
        except OSError:
            log.close()
            raise
        self.active.append(_Active(job, process, slot, log, start, time.monotonic()))

    def _leave(self, job: Job) -> None:
        self.elsewhere.append(job)
        if job.run in self.announced:
            return
        self.announced.add(job.run)
        _say(f"{job.run.name}: another process is training this run; waiting for it (Ctrl-C to stop)")

    def _free(self, bar: tqdm) -> list[Job]:
        """Jobs whose other process ended without results; those with results are marked as done."""
        if not self.elsewhere or time.monotonic() < self.last_poll + POLL_SECONDS:
            return []
        self.last_poll = time.monotonic()
        free = [job for job in self.elsewhere if not is_locked(job.run)]
        self.elsewhere = [job for job in self.elsewhere if job not in free]
        done = [job.run for job in free if job.run.results_file.exists()]
        self.outcome.done += done
        for run in done:
            _say(f"{run.name}: finished by the other process; {len(self.outcome.done)} of {bar.total} runs done")
        return [job for job in free if job.run not in done]

    def _collect(self, bar: tqdm) -> None:
        """Report runs that have ended and update the progress bar."""
        for active in [active for active in self.active if active.process.poll() is not None]:
            self.active.remove(active)
            active.log.close()
            if active.process.returncode == BUSY:
                self._leave(active.job)
                continue
            if active.process.returncode == DIVERGED and active.run.results_file.exists():
                self.outcome.done.append(active.run)
                reason = get(read_record(active.run), "diverged", "reason")
                _say(f"{active.run.name}: DIVERGED, {reason}; {len(self.outcome.done)} of {bar.total} runs done")
                continue
            problem = _problem(active)
            if problem:
                code = active.process.returncode
                note_end(active.run, code)
                (self.outcome.interrupted if interrupted(code) else self.outcome.failed).append(active.run)
                _say(problem)
            else:
                self.outcome.done.append(active.run)
                _say(f"{_done(active)}; {len(self.outcome.done)} of {bar.total} runs done")
        if bar.disable:
            return
        far = [(active.run.name, *progress(active.run, active.log_start)) for active in self.active]
        ended = len(self.outcome.done) + len(self.outcome.failed) + len(self.outcome.interrupted)
        bar.n = ended + sum(fraction for *_, fraction in far)
        bar.set_postfix_str(", ".join(f"{name} {words}".strip() for name, words, _ in far), refresh=False)
        bar.refresh()

    def _stop(self) -> None:
        """Terminate active runs; kill them after a second signal or the grace period."""
        until = time.monotonic() + GRACE_SECONDS
        for active in self.active:
            _signal_group(active.process, signal.SIGTERM)
        while any(active.process.poll() is None for active in self.active):
            if self.signals > 1 or time.monotonic() > until:
                break
            time.sleep(0.05)
        for active in self.active:
            # Also to groups of processes that have ended, because their data loaders may still be alive.
            _signal_group(active.process, signal.SIGKILL)
            active.process.wait()
            active.log.close()
            if active.process.returncode not in (0, BUSY):
                note_end(active.run, STOPPED)  # even if it was killed
        self.active = []


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _done(active: _Active) -> str:
    took = f"{active.run.name}: {duration(time.monotonic() - active.started)}"
    return ", ".join(filter(None, [took, headline(read_record(active.run) or {})]))


def _problem(active: _Active) -> str | None:
    """Message about a run that was interrupted or failed, with the end of its log; None if it succeeded."""
    run, code = active.run, active.process.returncode
    if interrupted(code):
        return f"{run.name}: interrupted; run the same command again to resume"
    reason = describe_end(code) if code else ""
    if not reason:
        try:
            reason = "" if read_record(run) else "ended without writing results.json"
        except RecordError as error:
            reason = str(error)
    if not reason:
        return None
    text = "".join(f"\n  | {line}" for line in last_lines(run, 15, active.log_start))
    return f"{run.name}: FAILED, {reason}; the end of {log_file(run)}:{text}"


def _say(text: str) -> None:
    """Print above the progress bar and flush."""
    tqdm.write(text)
    sys.stdout.flush()
