"""States of the runs of a table."""

from collections import Counter

from tabulate import tabulate

from refinenet_pl.ablation import slurm
from refinenet_pl.ablation.logs import log_file, unfinished_state
from refinenet_pl.ablation.plan import Job
from refinenet_pl.ablation.records import read_record
from refinenet_pl.ablation.scores import headline
from refinenet_pl.tracking.identity import RunId

STATES = ("done", "diverged", "running", "pending", "stopped", "failed", "not started")


def state_of(run: RunId, queue: dict[str, str]) -> tuple[str, str]:
    """Determine the state of a run.

    Args:
        run: The run.
        queue: States of this user's Slurm jobs by job ID.

    Returns:
        One of `STATES`, and a short explanation.

    Raises:
        RecordError: The run's record cannot be read.
    """
    record = read_record(run)
    if record is not None and record.get("diverged"):
        return "diverged", record["diverged"]["reason"]
    if record is not None:
        return "done", headline(record)
    state = unfinished_state(run)
    if state[0] == "running":
        return state
    job = slurm.job_of(run)
    if job in queue:
        running = queue[job] in ("RUNNING", "COMPLETING")
        return ("running", f"starting, Slurm job {job}") if running else ("pending", f"Slurm job {job}, {queue[job].lower()}")
    return _without_training(run) if job and state[0] == "not started" else state


def _without_training(run: RunId) -> tuple[str, str]:
    """State of a Slurm job that ended before its training started."""
    log, job = slurm.slurm_log(run), slurm.job_of(run)
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    if not text or "CANCELLED" in text:
        return "stopped", f"Slurm job {job} was canceled before it started"
    return "failed", f"Slurm job {job}, see {log}: {text.splitlines()[-1][:90]}"


def show_status(jobs: list[Job]) -> int:
    """Print the state of each run and a summary.

    Returns:
        The exit code: 0 if all runs are done or diverged, so that nothing is left to train, else 1.
    """
    queue = slurm.queue(jobs)
    rows = [(job.run.cell, job.run.seed, *state_of(job.run, queue)) for job in jobs]
    print(tabulate(rows, ["cell", "seed", "state", ""], disable_numparse=True))
    counts = Counter(state for _, _, state, _ in rows)
    print("\n" + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]))
    for job, (*_, state, _) in zip(jobs, rows, strict=True):
        if state == "failed" and log_file(job.run).exists():
            print(f"log: {log_file(job.run)}")
    return 0 if counts["done"] + counts["diverged"] == len(rows) else 1
