"""Slurm engine: the jobs by themselves, and tables on a real Slurm with one node."""

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.running import SMALL, confusion, results, run, same, weights

from refinenet_pl.ablation import slurm
from refinenet_pl.ablation.devices import PlacementError
from refinenet_pl.ablation.plan import plan
from refinenet_pl.ablation.status import state_of
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import find_recipe, find_table
from refinenet_pl.cli.ablate import run_command
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import lock_run

ARGUMENTS = [*SMALL[1:], '--data.dataset_options={"size": 64, "samples": 160}', "--trainer.max_epochs=3"]
ARGUMENTS += ["--model.network.init_args.dropout=0.5"]
CELLS = ("no_head_rcus", "no_rcus")


def words(command: str, root: Path, cells=CELLS) -> list[str]:
    return [command, "rcu_removal", "--on", "scenes", "--seeds", "1", "--root", str(root), "--cells", *cells]


@pytest.fixture
def job(tmp_path):
    table = read_table(find_table("rcu_removal"))
    return plan(table, find_recipe("scenes"), [0], ["no_rcus"], str(tmp_path), SMALL)[0]


def test_parameters():
    with pytest.raises(PlacementError, match="4 GPUs per run on 3 nodes: 4 / 3 = 1.33"):
        slurm.Request(gpus=4, nodes=3).parameters("table@recipe")
    asked = slurm.Request(gpus=16, nodes=2, cpus=8, more={"partition": "gpu"}).parameters("table@recipe")
    assert (asked["nodes"], asked["ntasks_per_node"], asked["gpus_per_node"], asked["cpus_per_task"]) == (2, 8, 8, 8)
    assert asked["additional_parameters"] == {"requeue": True, "partition": "gpu"}


@pytest.mark.parametrize("has_sbatch, message", [(False, "sbatch not found"), (True, "submitit is not installed")])
def test_missing_programs(tmp_path, monkeypatch, capsys, has_sbatch, message):
    if has_sbatch:
        (tmp_path / "sbatch").write_text("#!/bin/sh\n")
        (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert run_command([*words("run", tmp_path / "runs"), "--engine", "slurm"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, option",
    [
        ("--nodes 2", "--nodes"),
        ("--slurm qos=low", "--slurm"),
        ("--engine slurm --slots 2", "--slots"),
        ("--engine slurm --slurm qos", "'qos'"),
        ("--gpus_per_run 1 --processes_per_run 2", "--processes_per_run"),
    ],
)
def test_options_of_another_engine(tmp_path, capsys, more, option):
    with pytest.raises(SystemExit):
        run_command([*words("run", tmp_path / "runs"), *more.split()])
    assert re.search(f"error: .*{option}", capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_run_that_another_process_trains(job):
    lock = lock_run(job.run)
    with pytest.raises(RuntimeError, match="exit code 75"):
        slurm.Training(job)()
    lock.close()
    log = (job.run.directory / "log.txt").read_text()
    assert "is being trained by process" in log and "ended with exit code" not in log


def test_checkpoint_before_the_training_started(job):
    assert slurm.Training(job).checkpoint().function.job == job


def test_checkpoint_kills_a_training_that_does_not_stop(job, monkeypatch):
    monkeypatch.setattr(slurm, "SIGNAL_SECONDS", slurm.RESERVE_SECONDS + 1)
    training = slurm.Training(job)
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    training.process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    training.process.stdout.readline()
    again = training.checkpoint()
    assert training.process.wait(timeout=0) == -9
    assert again.function.job == job


@pytest.mark.parametrize(
    "printed, expected",
    [
        ("slurmstepd: error: *** JOB 7 ON node CANCELLED AT 2026-01-01 ***", "stopped"),
        ("Traceback\nModuleNotFoundError: No module named 'submitit'", "failed .*'submitit'"),
    ],
)
def test_states_of_jobs_without_a_training(job, printed, expected):
    assert state_of(job.run, {})[0] == "not started"
    job.run.directory.mkdir(parents=True)
    (job.run.directory / "slurm_job").write_text("7_0")
    assert state_of(job.run, {"7_0": "PENDING"})[0] == "pending"
    slurm.slurm_log(job.run).parent.mkdir()
    slurm.slurm_log(job.run).write_text(printed + "\n")
    assert re.match(expected, " ".join(state_of(job.run, {})))


@pytest.fixture(scope="module")
def cluster():
    """Skip if Slurm does not respond; fail if SLURM_REQUIRED is set, as in CI."""
    if subprocess.run("sinfo", shell=True, capture_output=True).returncode:
        problem = "no Slurm; export SLURM_CONF=FILE and start one with tests/slurm/start.sh"
        pytest.fail(problem) if os.environ.get("SLURM_REQUIRED") else pytest.skip(problem)


def submit(root: Path, *more: str, cells=CELLS, processes: int = 2) -> str:
    """Submit the table and return the output."""
    engine = ["--engine", "slurm", f"--processes_per_run={processes}", "--partition", "test"]
    return run("ablate", *words("run", root, cells), *engine, "--", *ARGUMENTS, *more)


def wait_for(root: Path, pattern: str, cells=CELLS) -> str:
    """Poll the status until it matches; in this process, because a state may be shorter than the import of the package."""
    end = time.monotonic() + 240
    while True:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert run_command(words("status", root, cells)) in (0, 1)
        shown = printed.getvalue()
        if re.search(pattern, shown):
            return shown
        assert time.monotonic() < end, shown
        time.sleep(0.7)


def interruptions(root: Path) -> int:
    """Number of times that the run saved its progress after a signal."""
    log = RunId("scenes", "rcu_removal", "no_rcus", 0, str(root)).directory / "log.txt"
    return len(re.findall(r"after step \d+; ", log.read_text()))


@pytest.mark.slow
def test_requeued_job_completes_the_table(cluster, tmp_path):
    root, local = tmp_path / "slurm", tmp_path / "local"
    job = re.search(r"as job (\d+)", submit(root))[1]
    assert "Nothing to submit" in submit(root)
    wait_for(root, r"no_rcus +0 +running +epoch [12]/3")
    subprocess.run(["scontrol", "requeue", f"{job}_1"], check=True)
    wait_for(root, r"no_rcus +0 +pending +Slurm job \d+_1")
    wait_for(root, "2 done")
    assert interruptions(root) > 0
    table = run("ablate", *words("table", root))
    assert "missing" not in table and "x 2" in table
    run("ablate", *words("run", local), "--processes_per_run", "2", "--", *ARGUMENTS)
    for cell in CELLS:
        one, other = (RunId("scenes", "rcu_removal", cell, 0, str(folder)) for folder in (root, local))
        assert confusion(one) == confusion(other) and same(weights(one), weights(other))


@pytest.mark.slow
def test_canceled_run_is_submitted_again(cluster, tmp_path):
    job = re.search(r"as job (\d+)", submit(tmp_path))[1]
    wait_for(tmp_path, r"no_rcus +0 +running")
    subprocess.run(["scancel", f"{job}_1"], check=True)
    wait_for(tmp_path, r"(?s)no_head_rcus +0 +done.*no_rcus +0 +(stopped|failed)")
    assert "Submitted 1 of 2 runs" in submit(tmp_path)
    wait_for(tmp_path, "2 done")


@pytest.mark.slow
def test_failed_run(cluster, tmp_path):
    submit(tmp_path, cells=["paper"], processes=3)  # the batch size is 8
    shown = wait_for(tmp_path, "1 failed", cells=["paper"])
    assert re.search(r"paper +0 +failed +exit code 1: error: .*8.* 3 processes", shown)


@pytest.mark.slow
def test_time_limit_and_preemption(cluster, tmp_path):
    cells = ["no_rcus"]
    job = re.search(r"as job (\d+)", submit(tmp_path, "--trainer.max_epochs=6", cells=cells))[1]
    # USR2 is Slurm's warning before the time limit, TERM starts the grace period of a preemption.
    for number, epochs in ("USR2", "1"), ("TERM", "[34]"):
        wait_for(tmp_path, rf"no_rcus +0 +running +epoch {epochs}/6", cells)
        subprocess.run(["scancel", f"--signal={number}", job], check=True)
        wait_for(tmp_path, r"no_rcus +0 +pending", cells)
    wait_for(tmp_path, "1 done", cells)
    assert interruptions(tmp_path) == 2


@pytest.mark.slow
def test_srun(cluster, tmp_path):
    arguments = ["fit", *SMALL, "--trainer.accelerator=cpu"]
    srun = ("srun", "--ntasks=2", "--ntasks-per-node=2", sys.executable, "-m")
    run(*arguments, f"--run.root={tmp_path}/srun", launcher=srun)
    run(*arguments, f"--run.root={tmp_path}/local", "--trainer.devices=2")
    one, other = (RunId("scenes", root=f"{tmp_path}/{folder}") for folder in ("srun", "local"))
    assert results(one)["world_size"] == 2
    assert confusion(one) == confusion(other) and same(weights(one), weights(other))
