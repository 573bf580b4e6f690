"""The runs of a table as one Slurm array job, through submitit."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from refinenet_pl.ablation.devices import PlacementError
from refinenet_pl.ablation.logs import log_file, note_end, noted_since, told_to_stop
from refinenet_pl.ablation.plan import Job
from refinenet_pl.exit_codes import BUSY
from refinenet_pl.files import replaced
from refinenet_pl.tracking.identity import RunId

# Slurm kills this long after its signal that time is up; enough for a step and a checkpoint.
SIGNAL_SECONDS = 120
# Of these, what queueing the job again may take. A training that has not stopped before, for it is in a long evaluation, is
# killed and goes on from its last checkpoint: better than a job whose time is up and that is in no queue.
RESERVE_SECONDS = 30
# Requeued as often as it takes: a run goes on where it was.
TIMEOUTS = 1000
_JOB_FILE = "slurm_job"


class SlurmError(RuntimeError):
    """Slurm is not there, or refused."""


@dataclass(frozen=True)
class Request:
    """What each run of a table asks of Slurm.

    Attributes:
        gpus: GPUs of a run over all its nodes, one process each; None for a run on CPUs.
        processes: CPU processes of a run over all its nodes.
        nodes: Nodes of a run.
        minutes: Time limit; a run that needs longer is requeued and goes on.
        cpus: CPU cores of each process, its data loaders included.
        parallel: Runs at a time; None for as many as Slurm allows.
        more: Further options of sbatch: partition, account, qos, mem, constraint, ...
    """

    gpus: int | None = None
    processes: int = 1
    nodes: int = 1
    minutes: int = 24 * 60
    cpus: int = 1
    parallel: int | None = None
    more: dict[str, str] = field(default_factory=dict)

    def parameters(self, name: str) -> dict:
        """The request in sbatch's words, as submitit takes them.

        Raises:
            PlacementError: The processes cannot be shared by the nodes.
        """
        processes, kind = (self.gpus, "GPUs") if self.gpus else (self.processes, "processes")
        if processes % self.nodes:
            raise PlacementError(
                f"{processes} {kind} a run on {self.nodes} nodes: {processes} / {self.nodes} = {processes / self.nodes:.2f}; "
                "give a number that the nodes can share"
            )
        parameters = {
            "job_name": name,
            "time": self.minutes,
            "nodes": self.nodes,
            "ntasks_per_node": processes // self.nodes,
            "cpus_per_task": self.cpus,
            "signal_delay_s": SIGNAL_SECONDS,
            # Pre-empted, or on a node that failed: back into the queue.
            "additional_parameters": {"requeue": True, **self.more},
            # Where one process fails, the others would wait for it. Since 22.05 srun does not heed sbatch's --cpus-per-task.
            "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={self.cpus}"],
        }
        if self.gpus:
            parameters["gpus_per_node"] = processes // self.nodes
        if self.parallel:
            parameters["array_parallelism"] = self.parallel
        return parameters


class Training:
    """One process of a run within a Slurm job; what submitit calls.

    Args:
        job: The run.
    """

    def __init__(self, job: Job):
        self.job = job
        self.process: subprocess.Popen | None = None

    def __call__(self) -> int:
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
                # Slurm's word that time is up goes to all processes of a job; only submitit's knows it, and calls `checkpoint`.
                preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
            )
            code = self.process.wait()
        # Where another process has failed, srun tells the first to stop, and that is no reason to go on.
        failure = noted_since(self.job.run, begun)
        if told_to_stop(code) and failure is None:
            if rank > 0:
                return code  # the first process says that to Slurm, when it has saved
            if _job_runs():
                # SIGTERM, with which Slurm begins the grace time of a pre-emption, and which submitit does not heed; this is
                # its signal to call `checkpoint` and to queue the job again.
                signal.raise_signal(signal.SIGUSR2)
        if code not in (0, BUSY):
            note_end(self.job.run, code if failure is None else failure)  # again, for it is the last line that counts
        if code:  # where another process trains the run, too: the others of this job would wait for the first
            raise RuntimeError(f"the training ended with exit code {code}; see {log_file(self.job.run, rank)}")
        return code

    def checkpoint(self):
        """Stop the training with its progress kept, and say what is to be queued again: the same."""
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
    # Not `Popen.wait`: this is asked from a signal's handler, in the middle of that, which is to have the exit code.
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    return True


def _environment() -> dict[str, str]:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    # Not every Slurm binds a process to its cores, and torch takes a thread for each core that it sees.
    environment.setdefault("OMP_NUM_THREADS", environment.get("SLURM_CPUS_PER_TASK", "1"))
    return environment


def _job_runs() -> bool:
    """Whether Slurm takes this job for a running one, and not for one that was cancelled or is in the queue again."""
    from submitit import JobEnvironment

    query = ["squeue", "--noheader", f"--jobs={JobEnvironment().job_id}", "--format=%T"]
    listed = subprocess.run(query, capture_output=True, text=True)
    return listed.stdout.strip() == "RUNNING"


def submit(jobs: list[Job], request: Request, folder: Path) -> str:
    """Submit runs, as one array job.

    Args:
        jobs: The runs; not those that run already or wait in the queue.
        request: What each asks for.
        folder: Where submitit keeps its files; seen by all nodes.

    Returns:
        The job's id.

    Raises:
        SlurmError: There is no Slurm, or it refused.
        PlacementError: What is asked for does not add up.
    """
    if shutil.which("sbatch") is None:
        raise SlurmError("there is no sbatch here; start this on a machine of the cluster, or leave out --engine slurm")
    parameters = request.parameters(jobs[0].run.group)
    try:
        import submitit  # half a second that the other commands need not wait for
    except ImportError as error:
        raise SlurmError(f"--engine slurm needs the package submitit ({error}): pip install submitit") from error

    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=TIMEOUTS)
    executor.update_parameters(**parameters)
    try:
        with executor.batch():
            submitted = [executor.submit(Training(job)) for job in jobs]
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError, OSError) as error:
        raise SlurmError(f"sbatch refused: {error}") from error
    for job, task in zip(jobs, submitted, strict=True):
        job.run.directory.mkdir(parents=True, exist_ok=True)
        with replaced(job.run.directory / _JOB_FILE) as stream:
            stream.write(task.job_id.encode())
    return submitted[0].job_id.split("_")[0]


def job_of(run: RunId) -> str | None:
    """The id of the Slurm job that a run was submitted as last."""
    try:
        return (run.directory / _JOB_FILE).read_text().strip()
    except FileNotFoundError:
        return None


def slurm_log(run: RunId) -> Path:
    """Where Slurm and submitit write what happens to a run's job besides its training."""
    return run.directory.parents[1] / "slurm" / f"{job_of(run)}_0_log.err"


def queue(jobs: list[Job]) -> dict[str, str]:
    """States of this user's jobs, `PENDING`, `RUNNING`, ..., by their ids; not asked for where none of the runs is a Slurm job.

    Raises:
        SlurmError: Slurm does not answer.
    """
    if not any(job_of(job.run) for job in jobs):
        return {}
    if shutil.which("squeue") is None:
        raise SlurmError("some of these runs are Slurm jobs, but there is no squeue here; ask on a machine of the cluster")
    listed = subprocess.run(
        ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i %T"], capture_output=True, text=True
    )
    if listed.returncode:
        raise SlurmError(f"squeue failed: {listed.stderr.strip()}")
    return dict(line.split() for line in listed.stdout.splitlines())
