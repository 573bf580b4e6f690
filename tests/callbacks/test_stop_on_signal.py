"""Killed, told to stop, out of space: started again, a run ends with the numbers it would have had."""

import csv
import os
import random
import re
import signal
import subprocess
import time
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from helpers.repository import REPOSITORY
from helpers.running import SMALL, confusion, kill_at, results, run, same, start, weights

from refinenet_pl.cli.main import main
from refinenet_pl.exit_codes import BUSY, STOPPED
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import RunBusyError, is_locked, lock_run

# Ten steps an epoch, with random numbers in every one of them.
ARGUMENTS = [
    "fit",
    *SMALL,
    '--data.dataset_options={"size": 64, "samples": 80}',
    "--model.network.init_args.dropout=0.5",
    "--trainer.max_epochs=3",
    "--trainer.accelerator=cpu",
    "--data.evaluation_batch=20",
]


def run_in(root: Path) -> RunId:
    return RunId("scenes", root=str(root))


def command(root: Path, *more: str) -> list[str]:
    return [*ARGUMENTS, *more, f"--run.root={root}"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> RunId:
    """Never interrupted."""
    root = tmp_path_factory.mktemp("straight")
    run(*command(root))
    return run_in(root)


@pytest.fixture(scope="module")
def straight_together(tmp_path_factory) -> RunId:
    """Never interrupted, on two processes, which add gradients up in another order than one does."""
    root = tmp_path_factory.mktemp("straight")
    run(*command(root, "--trainer.devices=2"))
    return run_in(root)


def assert_the_same(one: RunId, other: RunId) -> None:
    assert same(weights(one), weights(other))
    assert confusion(one) == confusion(other)
    assert results(one)["training"]["steps"] == results(other)["training"]["steps"] == 30
    assert results(one)["best"] == results(other)["best"]
    assert results(one)["curve"] == results(other)["curve"] and len(results(one)["curve"]) == 3


class Moment(NamedTuple):
    """When a run is killed: some seconds after its start, or where a file gets its name for the n-th time."""

    seconds: float | None = None
    file: str | None = None
    time: int = 1
    named: bool = False  # killed after that, not before


def fit_killed_at(moment: Moment, arguments: list[str], log: Path) -> None:
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
        here = Path(target).name == moment.file and times == moment.time
        if here and not moment.named:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = deadly
    if moment.seconds is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, moment.seconds)
    main(arguments)


def test_killed_at_twenty_moments_it_ends_in_the_same_network(straight, tmp_path):
    # Forked from a process that has imported everything, so that the kills fall into the run and not into the imports.
    context = get_context("forkserver")
    context.set_forkserver_preload(["test_interruptions"])
    chance, log = random.Random(0), tmp_path / "log.txt"
    files = "config.yaml", "best.ckpt", "last.ckpt", "previous.ckpt"
    moments = [Moment(file=file, named=named) for file in files for named in (False, True)]
    moments += [Moment(file="last.ckpt", time=2), Moment(file="results.json")]
    moments += [Moment(seconds=chance.uniform(0.0, 8.0)) for _ in range(10)]
    chance.shuffle(moments)
    runs = 0
    for moment in moments:
        code = 0
        while code != -signal.SIGKILL:
            process = context.Process(target=fit_killed_at, args=(moment, command(tmp_path / f"run{runs}"), log))
            process.start()
            process.join(300)
            code = process.exitcode
            assert code in (0, -signal.SIGKILL), log.read_text()[-3000:]
            runs += code == 0  # it had finished before the moment came; the next one begins anew
    run(*command(tmp_path / f"run{runs}"))
    for number in range(runs + 1):
        assert_the_same(run_in(tmp_path / f"run{number}"), straight)


MIDDLE = r"Epoch 1: +[2-6]0%"


@pytest.mark.parametrize("group", [True, False], ids=["all processes", "the first process"])
@pytest.mark.parametrize("devices", [1, 2])
def test_told_to_stop_it_saves_and_goes_on_in_the_middle_of_the_epoch(straight, straight_together, tmp_path, devices, group):
    more = [f"--trainer.devices={devices}", "--data.num_workers=1"]
    code, printed = kill_at(command(tmp_path, *more), MIDDLE, signal.SIGTERM, group)
    assert code == STOPPED == 143
    stopped = int(re.search(r"told to stop after step (\d+); start the same command again", printed)[1])
    assert 10 < stopped < 20
    assert torch.load(run_in(tmp_path).directory / "last.ckpt", weights_only=True)["global_step"] == stopped
    assert not run_in(tmp_path).results_file.exists()
    run(*command(tmp_path, *more))
    assert_the_same(run_in(tmp_path), straight if devices == 1 else straight_together)
    parts = sorted((run_in(tmp_path).directory / "metrics" / "train").glob("version_*/metrics.csv"))
    steps = [int(row["step"]) for part in parts for row in csv.DictReader(part.open()) if row["train/loss"]]
    assert steps == [9, 19, 29], "what was logged before is kept, and nothing is logged twice"


def test_middle_of_an_epoch_is_not_gone_on_with_another_share_of_the_batch(tmp_path):
    kill_at(command(tmp_path), MIDDLE, signal.SIGTERM)
    output = run(*command(tmp_path, "--trainer.accumulate_grad_batches=2"), code=1)
    assert "error: the run was stopped in the middle of an epoch with 8 samples a process and batch, and now has 4" in output


def test_told_to_stop_before_training_it_ends_with_the_same_code(tmp_path):
    code, _ = kill_at(command(tmp_path), "Seed set to", signal.SIGTERM)
    assert code == STOPPED


def test_a_run_ends_when_one_of_its_processes_is_killed_and_goes_on(straight_together, tmp_path):
    arguments = command(tmp_path, "--trainer.devices=2")
    process, printed = start(*arguments), ""
    while not re.search(MIDDLE, printed):
        printed += process.stdout.read(1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    second = next(child for child in children if b"refinenet_pl" in Path(f"/proc/{child}/cmdline").read_bytes())
    os.kill(int(second), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode not in (0, STOPPED)
    run(*arguments)
    assert_the_same(run_in(tmp_path), straight_together)


# One process a run


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path):
    process = start(*command(tmp_path, "--trainer.max_epochs=3000"))
    until = time.monotonic() + 120
    while not is_locked(run_in(tmp_path)) and time.monotonic() < until:
        time.sleep(0.1)
    output = run(*command(tmp_path, "--trainer.max_epochs=3000"), code=BUSY)
    assert f"is being trained by process {process.pid} on " in output
    process.kill()
    process.communicate()
    assert not is_locked(run_in(tmp_path)), "a dead process holds no lock"
    lock_run(run_in(tmp_path)).close()


def test_lock_is_kept_from_others_and_given_back(tmp_path):
    held = lock_run(run_in(tmp_path))
    context = get_context("forkserver")
    with context.Pool(1) as pool:
        assert pool.apply(is_locked, [run_in(tmp_path)])
        with pytest.raises(RunBusyError, match=f"process {os.getpid()} on"):
            pool.apply(lock_run, [run_in(tmp_path)])
        held.close()
        assert not pool.apply(is_locked, [run_in(tmp_path)])
    assert not is_locked(run_in(tmp_path / "nowhere"))


# Disks


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> Path:
    """The root of a run that was told to stop after two epochs or so."""
    root = tmp_path_factory.mktemp("half")
    assert kill_at(command(root), r"Epoch 2: +[2-6]0%", signal.SIGTERM)[0] == STOPPED
    return root


def copy(half: Path, root: Path) -> RunId:
    here = run_in(root)
    here.directory.mkdir(parents=True)
    for file in run_in(half).directory.iterdir():
        if file.is_file():
            (here.directory / file.name).write_bytes(file.read_bytes())
    return here


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_checkpoint_that_was_cut_short_is_replaced_by_the_one_before(straight, half, tmp_path, share):
    here = copy(half, tmp_path)
    last = here.directory / "last.ckpt"
    last.write_bytes(last.read_bytes()[: int(share * last.stat().st_size)])
    output = run(*command(tmp_path))
    assert (
        "last.ckpt: cannot be read as a checkpoint" in output
        and "going on from previous.ckpt, one checkpoint earlier" in output
    )
    assert_the_same(here, straight)


def test_checkpoint_that_is_gone_is_replaced_by_the_one_before(straight, half, tmp_path):
    here = copy(half, tmp_path)
    (here.directory / "last.ckpt").unlink()
    run(*command(tmp_path))
    assert_the_same(here, straight)


def test_without_a_checkpoint_that_can_be_read_the_message_names_it_and_the_cure(half, tmp_path):
    here = copy(half, tmp_path)
    for name in ("last.ckpt", "previous.ckpt"):
        (here.directory / name).write_bytes(b"PK")
    output = run(*command(tmp_path), code=1)
    assert re.search(r"error: .*previous.ckpt: cannot be read as a checkpoint.*; remove .*seed0 to train it anew", output)


def test_a_full_disk_ends_the_run_with_a_message_and_the_checkpoint_before_is_used(straight, half, tmp_path):
    here = copy(half, tmp_path)
    before = (here.directory / "last.ckpt").read_bytes()
    # The kernel's limit on the size of a file stands in for the disk's: the write fails half-way.
    limit = ("bash", "-c", 'ulimit -f 8192; exec "$0" -m "$@"', start.__kwdefaults__["launcher"][0])
    output = run(*command(tmp_path), launcher=limit, code=1)
    assert re.search(r"error: .*\.ckpt: File too large; what was written before is kept", output)
    assert (here.directory / "last.ckpt").read_bytes() == before
    assert not list(here.directory.glob(".*ckpt*")), "nothing half-written is left"
    run(*command(tmp_path))
    assert_the_same(here, straight)


@pytest.fixture
def small_disk(tmp_path):
    """A file system that has room for two checkpoints; gives the function that makes it larger."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    yield lambda: subprocess.run(["mount", "-o", "remount,size=200m", str(tmp_path)], check=True)
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_fills_up_ends_the_run_which_goes_on_when_there_is_room(straight, small_disk, tmp_path):
    output = run(*command(tmp_path), code=1)
    assert re.search(r"error: (.*\.ckpt: )?No space left on device; what was written before is kept", output)
    assert "Traceback" not in output
    small_disk()
    run(*command(tmp_path))
    assert_the_same(run_in(tmp_path), straight)


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    output = run(*command(tmp_path / "runs"), code=1)
    assert re.search(r"error: .*runs.*: Not a directory; what was written before is kept, so make room or give perm", output)
    assert "Traceback" not in output
