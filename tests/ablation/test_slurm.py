"""Tables on a real Slurm of one node, and training started by srun."""

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.repository import REPOSITORY
from helpers.running import SMALL, confusion, results, run, same, weights

from refinenet_pl.cli.ablate import run_command
from refinenet_pl.tracking.identity import RunId

ARGUMENTS = [
    *SMALL[1:],
    '--data.dataset_options={"size": 64, "samples": 160}',
    "--trainer.max_epochs=3",
    "--model.network.init_args.dropout=0.5",
]
ENGINE = ["--engine", "slurm", "--processes_per_run", "2", "--partition", "test"]


@pytest.fixture(scope="module", autouse=True)
def slurm():
    """Skips where no Slurm answers; in CI, which starts one, that is a failure."""
    try:
        answer = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True)
        problem = answer.stderr if answer.returncode else ""
    except FileNotFoundError as error:
        problem = str(error)
    if problem:
        message = f"no Slurm ({problem.strip()}); SLURM_CONF=FILE tests/slurm/start.sh starts one, with that variable exported"
        (pytest.fail if os.environ.get("SLURM_REQUIRED") else pytest.skip)(message)


def ablate(command: str, root: Path, *more: str, cells=("no_head_rcus", "no_rcus"), code: int = 0) -> str:
    words = [command, "rcu_removal", "--on", "scenes", "--seeds", "1", "--root", str(root), "--cells", *cells]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "experiments/ablate.py", *words, *more],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def submit(root: Path, *more: str, **options) -> str:
    """Submit the table and give the job's id."""
    return re.search(r"as job (\d+)", ablate("run", root, *ENGINE, "--", *ARGUMENTS, *more, **options))[1]


def wait_for(root: Path, pattern: str, seconds: float = 240, **options) -> str:
    """Ask for the status until it says something."""
    end = time.monotonic() + seconds
    while True:
        # In this process, because a state may last less than the import of the package.
        words = ["status", "rcu_removal", "--on", "scenes", "--seeds", "1", "--root", str(root)]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert run_command([*words, "--cells", *options.get("cells", ("no_head_rcus", "no_rcus"))]) in (0, 1)
        shown = printed.getvalue()
        if re.search(pattern, shown):
            return shown
        logs = "\n".join(file.read_text()[-2000:] for file in root.rglob("*log*.*") if file.is_file())
        assert time.monotonic() < end, f"{shown}\n{logs}"
        time.sleep(0.2)
        time.sleep(0.5)


def cell(root: Path, name: str) -> RunId:
    return RunId("scenes", "rcu_removal", name, 0, str(root))


def test_a_table_is_complete_though_a_job_in_flight_was_requeued(tmp_path):
    root = tmp_path / "slurm"
    job = submit(root)
    assert "Nothing to submit" in ablate("run", root, *ENGINE, "--", *ARGUMENTS), "what waits or runs is not submitted again"
    wait_for(root, r"no_rcus +0 +running +epoch [12]/3")
    subprocess.run(["scontrol", "requeue", f"{job}_1"], check=True)
    wait_for(root, r"no_rcus +0 +pending +Slurm job \d+_1")
    assert re.search(r"2 done", wait_for(root, "2 done"))
    log = (cell(root, "no_rcus").directory / "log.txt").read_text()
    assert re.search(r"told to stop after step \d+", log), "its progress was saved"
    table = ablate("table", root)
    assert "missing" not in table and "x 2" in table
    # The same table on this machine, with as many processes.
    here = tmp_path / "local"
    ablate("run", here, "--processes_per_run", "2", "--", *ARGUMENTS)
    for name in "no_head_rcus", "no_rcus":
        assert confusion(cell(root, name)) == confusion(cell(here, name))
        assert same(weights(cell(root, name)), weights(cell(here, name)))


def test_a_cancelled_run_is_submitted_again_and_nothing_else(tmp_path):
    job = submit(tmp_path)
    wait_for(tmp_path, r"no_rcus +0 +running")
    subprocess.run(["scancel", f"{job}_1"], check=True)
    wait_for(tmp_path, r"(?s)no_head_rcus +0 +done.*no_rcus +0 +(stopped|failed)")
    again = ablate("run", tmp_path, *ENGINE, "--", *ARGUMENTS)
    assert "Submitted 1 of 2 runs" in again
    wait_for(tmp_path, "2 done")


def test_a_failing_run_is_shown_as_failed_with_its_last_line(tmp_path):
    # 8 samples a step cannot be shared by 3 processes.
    engine = ["--engine", "slurm", "--processes_per_run", "3"]
    ablate("run", tmp_path, *engine, "--", *ARGUMENTS, cells=["paper"])
    shown = wait_for(tmp_path, "1 failed", cells=["paper"])
    assert re.search(r"paper +0 +failed +exit code 1: error: a global batch of 8 cannot be shared by 3 processes", shown)


def test_time_that_is_up_and_preemption_save_and_requeue(tmp_path):
    cells = ["no_rcus"]
    job = submit(tmp_path, "--trainer.max_epochs=6", cells=cells)
    wait_for(tmp_path, r"no_rcus +0 +running +epoch 1/6", cells=cells)
    # What Slurm sends before a time limit; a limit itself is minutes.
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    wait_for(tmp_path, r"no_rcus +0 +pending", cells=cells)
    wait_for(tmp_path, r"no_rcus +0 +running +epoch [34]/6", cells=cells)
    # With which the grace time of a pre-emption begins; a real one would end the other tests' jobs as well.
    subprocess.run(["scancel", "--signal=TERM", job], check=True)
    wait_for(tmp_path, r"no_rcus +0 +pending", cells=cells)
    wait_for(tmp_path, "1 done", cells=cells)
    log = (cell(tmp_path, "no_rcus").directory / "log.txt").read_text()
    assert len(re.findall(r"told to stop after step \d+", log)) == 2


def test_srun_starts_the_processes_of_a_run(tmp_path):
    arguments = ["fit", *SMALL, "--trainer.accelerator=cpu"]
    srun = ("srun", "--ntasks=2", "--ntasks-per-node=2", sys.executable, "-m")
    run(*arguments, f"--run.root={tmp_path}/srun", launcher=srun)
    run(*arguments, f"--run.root={tmp_path}/here", "--trainer.devices=2")
    there, here = RunId("scenes", root=f"{tmp_path}/srun"), RunId("scenes", root=f"{tmp_path}/here")
    assert results(there)["world_size"] == 2
    assert confusion(there) == confusion(here) and same(weights(there), weights(here))
