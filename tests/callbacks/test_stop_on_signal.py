"""Runs that are killed, stopped or out of disk space resume to bit-equal results."""

import csv
import os
import random
import re
import shutil
import signal
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from helpers.repository import REPOSITORY
from helpers.running import PLAIN, SMALL, confusion, kill_at, results, run, same, start, wait_for, weights

from refinenet_pl.callbacks.stop_on_signal import StopOnSignal
from refinenet_pl.cli.main import main
from refinenet_pl.exit_codes import BUSY, STOPPED
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import RunBusyError, is_locked, lock_run

pytestmark = pytest.mark.slow

# Ten steps per epoch, all with random numbers.
ARGUMENTS = [
    "fit", *SMALL, '--data.dataset_options={"size": 64, "samples": 80}', "--model.network.init_args.dropout=0.5",
    "--trainer.max_epochs=3", "--trainer.accelerator=cpu", "--data.evaluation_batch=20",
]  # fmt: skip
IMPORTED = "refinenet_pl.cli.training"
MIDDLE = r"Epoch 1: +[2-6]0%"


def run_in(root: Path) -> RunId:
    return RunId("scenes", root=str(root))


def command(root: Path, *more: str) -> list[str]:
    return [*ARGUMENTS, *more, f"--run.root={root}"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[int, RunId]:
    """Uninterrupted runs by number of processes, which sum gradients in different orders."""
    roots = {devices: tmp_path_factory.mktemp(f"uninterrupted{devices}") for devices in (1, 2)}
    for devices, root in roots.items():
        run(*command(root, f"--trainer.devices={devices}"))
    return {devices: run_in(root) for devices, root in roots.items()}


def assert_same(one: RunId, other: RunId) -> None:
    assert same(weights(one), weights(other))
    assert confusion(one) == confusion(other)
    assert results(one)["training"]["steps"] == results(other)["training"]["steps"] == 30
    assert results(one)["best"] == results(other)["best"]
    assert results(one)["curve"] == results(other)["curve"] and len(results(one)["curve"]) == 3


class Moment(NamedTuple):
    """Time of a kill: some seconds after the start, or when a file is renamed to `file` for the n-th time; never by default."""

    seconds: float | None = None
    file: str | None = None
    time: int = 1
    after: bool = False  # the rename


def fit_killed_at(moment: Moment, arguments: list[str], log: Path) -> None:
    if IMPORTED not in sys.modules:
        raise RuntimeError(f"{IMPORTED} is not preloaded, so that kills would happen during imports")
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(REPOSITORY)
    os.environ["WANDB_MODE"] = "disabled"
    torch.set_num_threads(1)
    replace, times = os.replace, 0

    def deadly(source, target):
        nonlocal times
        times += Path(target).name == moment.file
        killed = Path(target).name == moment.file and times == moment.time
        if not killed or moment.after:
            replace(source, target)
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = deadly
    if moment.seconds is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, moment.seconds)
    main(arguments)


def test_resumes_bit_equal_after_twenty_kills(uninterrupted, tmp_path):
    # Forked from a process with all imports, so that no kill happens during them. It does not have pytest's path, and would
    # ignore a module that it cannot import.
    context = get_context("forkserver")
    context.set_forkserver_preload([IMPORTED])
    log, runs = tmp_path / "log.txt", 0

    def fit(moment: Moment) -> int:
        process = context.Process(target=fit_killed_at, args=(moment, command(tmp_path / f"run{runs}"), log))
        process.start()
        process.join(300)
        assert process.exitcode in (0, -signal.SIGKILL), log.read_text()[-3000:]
        return process.exitcode

    start = time.monotonic()
    runs += fit(Moment()) == 0
    duration, rng = time.monotonic() - start, random.Random(0)
    files = "config.yaml", "best.ckpt", "last.ckpt", "previous.ckpt"
    moments = [Moment(file=file, after=after) for file in files for after in (False, True)]
    moments += [Moment(file="last.ckpt", time=2), Moment(file="results.json")]
    moments += [Moment(seconds=rng.uniform(0, duration)) for _ in range(10)]
    rng.shuffle(moments)
    for moment in moments:
        while fit(moment) == 0:  # finished before the moment; repeated with a new run, and earlier
            runs += 1
            moment = moment if moment.seconds is None else Moment(seconds=0.8 * moment.seconds)
    run(*command(tmp_path / f"run{runs}"))
    for number in range(runs + 1):
        assert_same(run_in(tmp_path / f"run{number}"), uninterrupted[1])


@pytest.mark.parametrize("group", [True, False], ids=["all processes", "first process"])
@pytest.mark.parametrize("devices", [1, 2])
def test_resumes_bit_equal_after_signal(uninterrupted, tmp_path, devices, group):
    more = [f"--trainer.devices={devices}", "--data.num_workers=1"]
    code, output = kill_at(command(tmp_path, *more), MIDDLE, signal.SIGTERM, group)
    assert code == STOPPED == 143
    step = int(re.search(r"stopped by SIGTERM after step (\d+); run the same command again", output)[1])
    assert 10 < step < 20
    assert torch.load(run_in(tmp_path).directory / "last.ckpt", weights_only=True)["global_step"] == step
    assert not run_in(tmp_path).results_file.exists()
    run(*command(tmp_path, *more))
    assert_same(run_in(tmp_path), uninterrupted[devices])
    parts = sorted((run_in(tmp_path).directory / "metrics" / "train").glob("version_*/metrics.csv"))
    steps = [int(row["step"]) for part in parts for row in csv.DictReader(part.open()) if row["train/loss"]]
    assert steps == [9, 19, 29], "each logged once, also before the signal"


def test_resumes_bit_equal_after_kill_of_one_process(uninterrupted, tmp_path):
    arguments = command(tmp_path, "--trainer.devices=2")
    process = start(*arguments)
    wait_for(process, MIDDLE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    second = next(child for child in children if b"refinenet_pl" in Path(f"/proc/{child}/cmdline").read_bytes())
    os.kill(int(second), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode not in (0, STOPPED)
    run(*arguments)
    assert_same(run_in(tmp_path), uninterrupted[2])


def test_signal_before_training(tmp_path):
    assert kill_at(command(tmp_path), "Seed set to", signal.SIGTERM)[0] == STOPPED


@pytest.mark.parametrize("accumulated, expected", [(1, [0, 1, 2, 3, 4]), (2, [1, 3])])
def test_saves_only_after_whole_steps_within_an_epoch(tmp_path, accumulated, expected):
    saved, index = [], 0
    trainer = SimpleNamespace(
        accumulate_grad_batches=accumulated,
        num_training_batches=6,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
        save_checkpoint=lambda file, weights_only: saved.append(index),
    )
    callback, handler = StopOnSignal(tmp_path), signal.getsignal(signal.SIGTERM)
    try:
        callback.on_train_start(trainer, None)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, handler)
    for index in range(6):
        callback.on_train_batch_end(trainer, None, None, {}, index)
    assert saved == expected and callback.saved


def test_second_process_is_refused(tmp_path):
    process = start(*command(tmp_path, "--trainer.max_epochs=3000"))
    wait_for(process, "Epoch 0")
    output = run(*command(tmp_path, "--trainer.max_epochs=3000"), code=BUSY)
    assert f"is being trained by process {process.pid} on " in output
    process.kill()
    process.communicate()
    lock_run(run_in(tmp_path)).close()


def test_lock(tmp_path):
    lock = lock_run(run_in(tmp_path))
    with get_context("forkserver").Pool(1) as pool:
        assert pool.apply(is_locked, [run_in(tmp_path)])
        with pytest.raises(RunBusyError, match=f"process {os.getpid()} on"):
            pool.apply(lock_run, [run_in(tmp_path)])
        lock.close()
        assert not pool.apply(is_locked, [run_in(tmp_path)])
    assert not is_locked(run_in(tmp_path / "nowhere"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """Root of a run that was stopped in the third epoch."""
    root = tmp_path_factory.mktemp("stopped")
    assert kill_at(command(root), r"Epoch 2: +[2-6]0%", signal.SIGTERM)[0] == STOPPED
    return root


@pytest.fixture
def copy(stopped, tmp_path) -> RunId:
    """A copy of the stopped run in `tmp_path`."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    return run_in(tmp_path)


@pytest.mark.parametrize("share", [None, 0.0, 0.5, 0.999])
def test_resumes_bit_equal_from_previous_checkpoint(uninterrupted, copy, tmp_path, share):
    last = copy.directory / "last.ckpt"
    if share is None:
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[: int(share * last.stat().st_size)])
    output = run(*command(tmp_path))
    assert share is None or re.search("last.ckpt: cannot be read as a checkpoint.*resuming from previous.ckpt", output)
    assert_same(copy, uninterrupted[1])


def test_impossible_resumes_are_refused(copy, tmp_path):
    output = run(*command(tmp_path, "--trainer.accumulate_grad_batches=2"), code=1)
    assert "8 samples per process" in output and "now has 4" in output
    for name in ("last.ckpt", "previous.ckpt"):
        (copy.directory / name).write_bytes(b"PK")
    output = run(*command(tmp_path), code=1)
    assert re.search(r"error: .*previous.ckpt: cannot be read as a checkpoint.*; remove .*seed0 to train again", output)


def test_resumes_bit_equal_after_failed_write(uninterrupted, copy, tmp_path):
    before = (copy.directory / "last.ckpt").read_bytes()
    # A limit on file sizes makes writes fail half-way, like a full disk.
    limit = ("bash", "-c", 'ulimit -f 8192; exec "$0" -m "$@"', PLAIN[0])
    output = run(*command(tmp_path), launcher=limit, code=1)
    assert re.search(r"error: .*\.ckpt: File too large; files written before are kept", output)
    assert (copy.directory / "last.ckpt").read_bytes() == before
    assert not list(copy.directory.glob(".*ckpt*"))
    run(*command(tmp_path))
    assert_same(copy, uninterrupted[1])


def test_resumes_bit_equal_after_full_disk(uninterrupted, mount_disk, tmp_path):
    mount_disk(tmp_path, "30m")  # room for two checkpoints
    output = run(*command(tmp_path), code=1)
    assert "No space left on device" in output and "Traceback" not in output
    mount_disk(tmp_path, "200m")
    run(*command(tmp_path))
    assert_same(run_in(tmp_path), uninterrupted[1])


def test_unwritable_root_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    output = run(*command(tmp_path / "runs"), code=1)
    assert re.search("error: .*runs.*: Not a directory", output) and "Traceback" not in output
