"""What a table's Slurm jobs do, as far as it can be told without a Slurm."""

import subprocess
import sys

import pytest
from helpers.running import SMALL

from refinenet_pl.ablation import slurm
from refinenet_pl.ablation.plan import plan
from refinenet_pl.ablation.status import state_of
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import find_recipe, find_table
from refinenet_pl.cli import ablate
from refinenet_pl.tracking.lock import lock_run


@pytest.fixture
def job(tmp_path):
    table = read_table(find_table("rcu_removal"))
    return plan(table, find_recipe("scenes"), [0], ["no_rcus"], str(tmp_path), SMALL)[0]


def test_without_submitit_the_message_says_what_to_install(tmp_path, monkeypatch, capsys):
    program = tmp_path / "sbatch"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)
    words = ["rcu_removal", "--on", "scenes", "--seeds", "1", "--root", str(tmp_path / "runs"), "--engine", "slurm"]
    assert ablate.run_command(["run", *words]) == 2
    assert "pip install submitit" in capsys.readouterr().err


def test_a_job_whose_run_is_trained_elsewhere_ends_with_an_error(job):
    # With success its other processes would wait for the first, and keep their nodes.
    lock = lock_run(job.run)
    with pytest.raises(RuntimeError, match="exit code 75"):
        slurm.Training(job)()
    lock.close()
    log = (job.run.directory / "log.txt").read_text()
    assert "is being trained by process" in log and "ended with exit code" not in log


def test_a_training_that_does_not_stop_in_time_is_killed_and_queued_again(job, monkeypatch):
    monkeypatch.setattr(slurm, "SIGNAL_SECONDS", slurm.RESERVE_SECONDS + 1)
    training = slurm.Training(job)
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    training.process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    training.process.stdout.readline()
    again = training.checkpoint()
    assert training.process.wait(timeout=0) == -9
    assert again.function.job == job


def test_a_job_told_before_its_training_began_is_queued_again(job):
    assert slurm.Training(job).checkpoint().function.job == job


@pytest.mark.parametrize(
    ("printed", "state", "words"),
    [
        ("slurmstepd: error: *** JOB 7 ON node CANCELLED AT 2026-01-01 ***", "stopped", "cancelled before it began"),
        ("Traceback\nModuleNotFoundError: No module named 'submitit'", "failed", "No module named 'submitit'"),
    ],
)
def test_a_job_that_ended_before_its_training_began_is_shown_with_slurms_log(job, printed, state, words):
    assert state_of(job.run, {})[0] == "not started"
    job.run.directory.mkdir(parents=True)
    (job.run.directory / "slurm_job").write_text("7_0")
    assert state_of(job.run, {"7_0": "PENDING"})[0] == "pending"
    slurm.slurm_log(job.run).parent.mkdir()
    slurm.slurm_log(job.run).write_text(printed + "\n")
    found = state_of(job.run, {})
    assert found[0] == state and words in found[1]
