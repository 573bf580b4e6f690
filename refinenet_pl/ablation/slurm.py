"""Slurm engine: submits the runs of a table as one array job with submitit."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refinenet_pl.ablation.devices import PlacementError
from refinenet_pl.ablation.logs import interrupted, log_file, note_end, noted_since
from refinenet_pl.ablation.plan import Job
from refinenet_pl.exit_codes import BUSY
from refinenet_pl.extras import require
from refinenet_pl.files import replaced
from refinenet_pl.tracking.identity import RunId

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

# Time between Slurm's warning signal and the time limit; enough for a training step and a checkpoint.
SIGNAL_SECONDS = 120
# Part of SIGNAL_SECONDS reserved for requeueing the job. A training that is still running, for example in a long evaluation, is
# killed at that point and resumes from its last checkpoint; otherwise the job would end without being requeued.
RESERVE_SECONDS = 30
# Max number of requeues by submitit, whose default of 3 is too low: runs resume, so any number is safe.
TIMEOUTS = 1000
_JOB_FILE = "slurm_job"


class SlurmError(RuntimeError):
    """Slurm is not available or rejected the request."""


@dataclass(frozen=True)
class Request:
    """Resources requested from Slurm for each run of a table.

    Attributes:
        gpus: GPUs per run over all nodes, with one process each; None to run on CPUs.
        processes: CPU processes per run over all nodes.
        nodes: Nodes per run.
        minutes: Time limit; longer runs are requeued and resume.
        cpus: CPU cores per process, including its data loaders.
        parallel: Max number of concurrent runs; None for Slurm's limit.
        more: Additional sbatch options such as partition, account, qos, mem or constraint.
    """

    gpus: int | None = None
    processes: int = 1
    nodes: int = 1
    minutes: int = 24 * 60
    cpus: int = 1
    parallel: int | None = None
    more: dict[str, str] = field(default_factory=dict)

    def parameters(self, name: str) -> dict[str, Any]:
        """Parameters of submitit's executor.

        Args:
            name: Name of the job.

        Raises:
            PlacementError: The processes cannot be distributed evenly over the nodes.
        """
        processes, kind = (self.gpus, "GPUs") if self.gpus else (self.processes, "processes")
        if processes % self.nodes:
            raise PlacementError(
                f"{processes} {kind} per run on {self.nodes} nodes: {processes} / {self.nodes} = "
                f"{processes / self.nodes:.2f}; use a multiple of --nodes"
            )
        parameters: dict[str, Any] = {
            "job_name": name,
            "time": self.minutes,
            "nodes": self.nodes,
            "ntasks_per_node": processes // self.nodes,
            "cpus_per_task": self.cpus,
            "signal_delay_s": SIGNAL_SECONDS,
            # Requeue after preemption and node failures.
            "additional_parameters": {"requeue": True, **self.more},
            # If one process fails, the others would wait for it. Since 22.05, srun ignores sbatch's --cpus-per-task.
            "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={self.cpus}"],
        }
        if self.gpus:
            parameters["gpus_per_node"] = processes // self.nodes
        if self.parallel:
            parameters["array_parallelism"] = self.parallel
        return parameters


class Training:
    """One process of a run in a Slurm job: the callable that submitit runs.

    Args:
        job: The run.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run the training command and return its exit code, 0.

        Raises:
            RuntimeError: The training failed.
        """
        rank = int(os.environ.get("SLURM_PROCID", 0))
        self.job.run.directory.mkdir(parents=True, exist_ok=True)
        common = log_file(self.job.run)
        begun = common.stat().st_size if common.exists() else 0
        with log_file(self.job.run, rank).open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "refinenet_pl", *self.job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                # Slurm sends its warning signal to all processes of a job; only submitit's handles it, with `checkpoint`.
                preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
            )
            code = self.process.wait()
        # If another process failed, srun terminates rank 0; such a job must not be requeued.
        failure = noted_since(self.job.run, begun)
        if interrupted(code) and failure is None:
            if rank > 0:
                return code  # rank 0 requeues the job after it has saved a checkpoint
            if _job_runs():
                # Slurm sends SIGTERM at the start of a preemption's grace period, which submitit ignores. SIGUSR2 makes it
                # call `checkpoint` and requeue the job.
                signal.raise_signal(signal.SIGUSR2)
        if code not in (0, BUSY):
            note_end(self.job.run, code if failure is None else failure)  # repeated, because the last line counts
        if code:  # including BUSY, because the other processes of this job would wait for rank 0
            raise RuntimeError(f"the training ended with exit code {code}; see {log_file(self.job.run, rank)}")
        return code

    def checkpoint(self) -> "DelayedSubmission":
        """Stop the training, which saves a checkpoint, and return the same job to be requeued."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.process.terminate()
            until = time.monotonic() + SIGNAL_SECONDS - RESERVE_SECONDS
            while not _ended(self.process.pid):
                if time.monotonic() > until:
                    self.process.kill()
                time.sleep(0.1)
        return DelayedSubmission(Training(self.job))


def _ended(process: int) -> bool:
    # `checkpoint` runs in a signal handler that interrupts `Popen.wait`, so the exit code must not be consumed here.
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    return True


def _environment() -> dict[str, str]:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    # Slurm may not bind processes to their cores, and torch starts one thread per visible core.
    environment.setdefault("OMP_NUM_THREADS", environment.get("SLURM_CPUS_PER_TASK", "1"))
    return environment


def _job_runs() -> bool:
    """True if this job is running in Slurm's view, that is, neither canceled nor already requeued."""
    from submitit import JobEnvironment

    query = ["squeue", "--noheader", f"--jobs={JobEnvironment().job_id}", "--format=%T"]
    listed = subprocess.run(query, capture_output=True, text=True)
    return listed.stdout.strip() == "RUNNING"


def submit(jobs: list[Job], request: Request, folder: Path) -> str:
    """Submit runs as one array job.

    Args:
        jobs: Runs that are neither running nor queued.
        request: Resources of each run.
        folder: Directory for submitit's files, shared by all nodes.

    Returns:
        The job ID.

    Raises:
        SlurmError: Slurm is not available or rejected the job.
        PlacementError: The processes cannot be distributed evenly over the nodes.
    """
    if shutil.which("sbatch") is None:
        raise SlurmError("--engine slurm: sbatch not found; run this on a node of the cluster, or omit --engine slurm")
    parameters = request.parameters(jobs[0].run.group)
    submitit = require("submitit", "slurm", "--engine slurm", SlurmError)
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=TIMEOUTS)
    executor.update_parameters(**parameters)
    try:
        with executor.batch():
            submitted = [executor.submit(Training(job)) for job in jobs]
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError, OSError) as error:
        raise SlurmError(f"sbatch failed: {error}; check --partition, --account and --slurm") from error
    for job, task in zip(jobs, submitted, strict=True):
        job.run.directory.mkdir(parents=True, exist_ok=True)
        with replaced(job.run.directory / _JOB_FILE) as stream:
            stream.write(task.job_id.encode())
    return submitted[0].job_id.split("_")[0]


def job_of(run: RunId) -> str | None:
    """ID of the last Slurm job of a run; None if it was never submitted."""
    try:
        return (run.directory / _JOB_FILE).read_text().strip()
    except FileNotFoundError:
        return None


def slurm_log(run: RunId) -> Path:
    """Log of Slurm and submitit for a run's job, without the output of the training."""
    return run.directory.parents[1] / "slurm" / f"{job_of(run)}_0_log.err"


def queue(jobs: list[Job]) -> dict[str, str]:
    """Query the states of this user's Slurm jobs.

    Args:
        jobs: Runs of a table. Slurm is not queried if none of them was submitted.

    Returns:
        States such as `PENDING` and `RUNNING` by job ID.

    Raises:
        SlurmError: squeue is not available or failed.
    """
    if not any(job_of(job.run) for job in jobs):
        return {}
    if shutil.which("squeue") is None:
        raise SlurmError("some of these runs are Slurm jobs, but squeue was not found; run this on a node of the cluster")
    listed = subprocess.run(
        ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i %T"], capture_output=True, text=True
    )
    if listed.returncode:
        raise SlurmError(f"squeue failed: {listed.stderr.strip()}")
    return dict(line.split() for line in listed.stdout.splitlines())
