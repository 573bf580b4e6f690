"""Running what is missing of a table, on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from tqdm import tqdm

from refinenet_pl.ablation.comparison import get
from refinenet_pl.ablation.devices import Placement
from refinenet_pl.ablation.logs import describe_end, last_lines, log_file, note_end, progress, told_to_stop
from refinenet_pl.ablation.plan import Job
from refinenet_pl.ablation.records import RecordError, read_record
from refinenet_pl.ablation.rendering import duration
from refinenet_pl.exit_codes import BUSY, DIVERGED, STOPPED
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import is_locked

# How long a run that was told to stop may take to put its last checkpoint down.
GRACE_SECONDS = 20.0
# How often a run that another process trains is looked at.
PATIENCE_SECONDS = 1.0


@dataclass
class Outcome:
    """What became of the runs of one call."""

    done: list[RunId] = field(default_factory=list)
    failed: list[RunId] = field(default_factory=list)
    told_to_stop: list[RunId] = field(default_factory=list)
    stopped: bool = False


@dataclass
class _Active:
    job: Job
    process: subprocess.Popen
    slot: int
    log: IO[bytes]
    log_start: int
    started: float

    @property
    def run(self) -> RunId:
        return self.job.run


class Runner:
    """Runs jobs as processes, at most one a slot at a time.

    A run's output goes to `log.txt` in its directory. A run that another process trains (another runner's, or what was left of
    one that was killed) is never started a second time: it is waited for, and taken over where its process dies. Ctrl-C,
    SIGTERM and SIGHUP end the runs as well.

    Args:
        placement: How many runs at a time, and what each gets.
        command_prefix: The training program, to which a job's arguments are added.
    """

    def __init__(
        self,
        placement: Placement,
        command_prefix: Sequence[str] = (sys.executable, "-m", "refinenet_pl"),
    ):
        self.placement = placement
        self.command_prefix = list(command_prefix)
        self.active: list[_Active] = []
        self.elsewhere: list[Job] = []
        self.announced: set[RunId] = set()
        self.looked = 0.0
        self.outcome = Outcome()
        self.signals = 0

    def __call__(self, jobs: list[Job]) -> Outcome:
        """Run the jobs that have no results yet."""
        self.outcome.done = [job.run for job in jobs if job.run.results_file.exists() or read_record(job.run)]
        waiting = [job for job in jobs if job.run not in self.outcome.done]
        handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        # Without a terminal there is no bar, only a line for each run.
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

    def _on_signal(self, number, frame):
        self.signals += 1

    def _try_to_start(self, job: Job):
        try:
            self._start(job)
        except OSError as error:  # a full disk, or a directory that is not to be written
            self.outcome.failed.append(job.run)
            _say(f"{job.run.name}: FAILED, {error}")

    def _start(self, job: Job):
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
            # A session of its own: its data loaders can be ended with it, and Ctrl-C reaches it through this process only.
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

    def _leave(self, job: Job):
        self.elsewhere.append(job)
        if job.run in self.announced:
            return
        self.announced.add(job.run)
        _say(f"{job.run.name}: another process trains it; waiting for that one when the others are done (Ctrl-C to stop)")

    def _free(self, bar: tqdm) -> list[Job]:
        """Runs that other processes trained and do not train any more, without results; those with results are done."""
        if not self.elsewhere or time.monotonic() < self.looked + PATIENCE_SECONDS:
            return []
        self.looked = time.monotonic()
        free = [job for job in self.elsewhere if not is_locked(job.run)]
        self.elsewhere = [job for job in self.elsewhere if job not in free]
        done = [job.run for job in free if job.run.results_file.exists()]
        self.outcome.done += done
        for run in done:
            _say(f"{run.name}: finished by the other process; {len(self.outcome.done)} of {bar.total} runs done")
        return [job for job in free if job.run not in done]

    def _collect(self, bar: tqdm):
        """Report runs that have ended, and show how far the others are."""
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
                (self.outcome.told_to_stop if told_to_stop(code) else self.outcome.failed).append(active.run)
                _say(problem)
            else:
                self.outcome.done.append(active.run)
                _say(f"{_done(active)}; {len(self.outcome.done)} of {bar.total} runs done")
        if bar.disable:
            return
        far = [(active.run.name, *progress(active.run, active.log_start)) for active in self.active]
        ended = len(self.outcome.done) + len(self.outcome.failed) + len(self.outcome.told_to_stop)
        bar.n = ended + sum(fraction for *_, fraction in far)
        bar.set_postfix_str(", ".join(f"{name} {words}".strip() for name, words, _ in far), refresh=False)
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
            if active.process.returncode not in (0, BUSY):
                note_end(active.run, STOPPED)  # also where it had to be killed
        self.active = []


def _signal_group(process: subprocess.Popen, number: int):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _done(active: _Active) -> str:
    miou = get(read_record(active.run), "evaluations", "val", "miou")
    figure = f", {100 * miou:.1f} % mIoU on val" if isinstance(miou, (int, float)) else ""
    return f"{active.run.name}: {duration(time.monotonic() - active.started)}{figure}"


def _problem(active: _Active) -> str | None:
    """Why an ended run has failed, with the end of its log; None when all is well."""
    run, code = active.run, active.process.returncode
    if told_to_stop(code):
        return f"{run.name}: was told to stop; start the same command again to go on"
    reason = describe_end(code) if code else ""
    if not reason:
        try:
            reason = "" if read_record(run) else "it ended without writing results.json"
        except RecordError as error:
            reason = str(error)
    if not reason:
        return None
    text = "".join(f"\n  | {line}" for line in last_lines(run, 15, active.log_start))
    return f"{run.name}: FAILED, {reason}; the end of {log_file(run)}:{text}"


def _say(text: str):
    """Above the progress bar, and at once where the output goes to a file."""
    tqdm.write(text)
    sys.stdout.flush()
