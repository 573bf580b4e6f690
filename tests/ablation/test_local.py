"""Local engine: slots, devices, failures, signals, concurrent runners, and the states of runs; sweeps."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import yaml
from helpers.repository import REPOSITORY
from helpers.running import SMALL, confusion, results, same, start, weights

from refinenet_pl.ablation.devices import Placement, PlacementError
from refinenet_pl.ablation.logs import log_file, note_end, noted_end, noted_since, unfinished_state
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import find_table
from refinenet_pl.cli import ablate
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import is_locked

pytestmark = pytest.mark.integration

# Replaces the training: locks the run and ends as its options say, without importing the package, which takes seconds.
TRAINING = """\
import fcntl, json, os, pathlib, signal, sys, time
options = dict(zip(sys.argv, sys.argv[1:]))
recipe, table = (pathlib.Path(options[option]).stem for option in ("-c", "--run.table"))
cell, seed, root = options["--run.cell"], int(options["--seed_everything"]), options["--run.root"]
directory = pathlib.Path(root, f"{table}@{recipe}", cell, f"seed{seed}")
directory.mkdir(parents=True, exist_ok=True)
lock = open(directory / "lock", "a+")
signal.signal(signal.SIGALRM, lambda number, frame: sys.exit(75))
signal.setitimer(signal.ITIMER_REAL, 0.5)
fcntl.lockf(lock, fcntl.LOCK_EX)
signal.setitimer(signal.ITIMER_REAL, 0)
if (directory / "results.json").exists():
    sys.exit(0)
print("Epoch 0:  50%|#####     |")
print("threads", os.environ.get("OMP_NUM_THREADS"), "devices", os.environ.get("CUDA_VISIBLE_DEVICES"))
(directory / "pid").write_text(str(os.getpid()))
if "--stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60 if "--hang" in sys.argv else "--slow" in sys.argv)
if cell != "paper" and "--break" in sys.argv:
    print("the last words")
    sys.exit(3 if cell == "shallow" else 0)
run = {"recipe": recipe, "table": table, "cell": cell, "seed": seed}
record = {"format": 1, "run": run, "evaluations": {"val": {"miou": 0.5 + 0.01 * seed}}}
(directory / "results.json").write_text(json.dumps(record))
"""


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


class Ablation:
    """`refinenet ablate` on a table of three cells and one seed, with a program that does not train."""

    def __init__(self, folder: Path):
        (folder / "training.py").write_text(TRAINING)
        (folder / "quick.yaml").write_text("{}")
        self.root = folder / "runs"
        self.files = [str(folder / "mine.yaml"), "--on", str(folder / "quick.yaml"), "--root", str(self.root)]
        self.training = [sys.executable, str(folder / "training.py")]

    def __call__(self, command: str, *more: str) -> int:
        return ablate.run_command([command, *self.files, "--seeds", "1", *more], self.training)

    def status(self, capfd, code: int = 1) -> str:
        capfd.readouterr()
        assert self("status") == code
        return capfd.readouterr().out

    def start(self, *more: str) -> subprocess.Popen:
        """`run` in another process."""
        code = "import sys; from refinenet_pl.cli import ablate\n"
        code += f"sys.exit(ablate.run_command({['run', *self.files, '--seeds', '1', *more]!r}, {self.training!r}))"
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, cell: str) -> RunId:
        return RunId("quick", "mine", cell, 0, str(self.root))

    def trainer(self, cell: str) -> int:
        """Process that trains a cell, when it has started."""
        file = self.run(cell).directory / "pid"
        until(lambda: file.exists() and file.read_text())
        return int(file.read_text())


@pytest.fixture
def ablation(table_file, tmp_path) -> Ablation:
    return Ablation(tmp_path)


def test_trains_missing_runs(ablation, capfd, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert ablation("run", "--seeds", "2", "--slots", "2") == 0
    shown = capfd.readouterr().out
    assert "6 of 6 runs done" in shown and "50.5 ± 0.7" in shown
    group = ablation.root / "mine@quick"
    assert {path.suffix for path in group.glob("mine@quick.*")} == {".md", ".csv", ".png"}
    logs = [log.read_text() for log in group.rglob("log.txt")]
    assert {re.search(r"devices (\S+)", log)[1] for log in logs} == {"4,6", "5"}
    (group / "paper/seed0/results.json").unlink()
    others = {file: file.stat().st_mtime_ns for file in group.glob("*/*/results.json")}
    assert ablation("run", "--seeds", "2") == 0
    assert {file: file.stat().st_mtime_ns for file in others} == others
    assert log_file(ablation.run("paper")).read_text().count("Epoch 0") == 2


def test_failed_runs(ablation, capfd):
    assert "3 not started" in ablation.status(capfd)
    assert ablation("run", "--slots", "2", "--", "--break") == 1
    out, err = capfd.readouterr()
    assert "shallow-seed0: FAILED, exit code 3" in out and "middle-seed0: FAILED, ended without" in out
    assert "1 of 3 runs done" in out and out.count("0/1 (1 failed)") == 2
    assert "mine@quick/shallow/seed0, " in err
    status = ablation.status(capfd)
    assert re.search(r"paper +0 +done +50.0%", status) and re.search("shallow +0 +failed +exit code 3: the last words", status)
    assert "1 done, 2 failed" in status and str(log_file(ablation.run("shallow"))) in status
    assert ablation("run") == 0
    assert "3 done" in ablation.status(capfd, code=0)


@pytest.mark.parametrize(
    "number, message, state",
    [
        (signal.SIGTERM, "interrupted", "stopped +run it again"),
        (signal.SIGKILL, "FAILED, killed", r"failed +killed \(SIGKILL\)"),
    ],
)
def test_training_receives_signal(ablation, capfd, number, message, state):
    process = ablation.start("--cells", "paper", "--", "--hang")
    os.kill(ablation.trainer("paper"), number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1 and f"paper-seed0: {message}" in out
    assert ("fail" in (out + err).lower()) == (number == signal.SIGKILL)
    assert re.search(rf"paper +0 +{state}", ablation.status(capfd))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_runner_receives_signal(ablation, number):
    process = ablation.start("--slots", "2", "--cells", "paper", "middle", "--", "--hang")
    try:
        trainers = [ablation.trainer(cell) for cell in ("paper", "middle")]
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "run the same command again" in err
    assert not any(Path(f"/proc/{trainer}").exists() for trainer in trainers)


@pytest.mark.slow
def test_second_interrupt_kills(ablation, capfd):
    process = ablation.start("--cells", "paper", "--", "--hang", "--stubborn")
    trainer = ablation.trainer("paper")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    process.communicate(timeout=60)
    assert not Path(f"/proc/{trainer}").exists()
    assert re.search(r"paper +0 +stopped", ablation.status(capfd))


def test_directory_cannot_be_created(ablation, capfd):
    blocked = ablation.root / "mine@quick/paper"
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    assert ablation("run") == 1
    out, err = capfd.readouterr()
    assert "Not a directory" in out and "2 of 3 runs done" in out and f"{blocked}/seed0" in err


def test_two_runners_train_each_cell_once(ablation):
    for process in [ablation.start("--seeds", "2", "--slots", "2", "--", "--slow") for _ in range(2)]:
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0 and "50.5 ± 0.7" in out, err
    assert [log.read_text().count("Epoch 0") for log in ablation.root.rglob("log.txt")] == [1] * 6


@pytest.mark.slow
def test_takes_over_orphaned_run(ablation, capfd):
    process = ablation.start("--cells", "paper", "--", "--hang")
    trainer = ablation.trainer("paper")
    process.kill()  # the training continues in its own session
    process.communicate()
    assert is_locked(ablation.run("paper"))
    until(lambda: re.search(r"paper +0 +running +epoch 0", ablation.status(capfd)))
    second = ablation.start("--cells", "paper")
    assert "paper-seed0: another process is training this run" in second.stdout.readline()
    os.kill(trainer, signal.SIGKILL)
    out, _ = second.communicate(timeout=30)
    assert second.returncode == 0 and "1 of 1 runs done" in out
    assert log_file(ablation.run("paper")).read_text().count("Epoch 0") == 2


@pytest.mark.slow
def test_random_kills_give_the_same_table(ablation, tmp_path):
    chance, straight, kills = random.Random(0), tmp_path / "straight", 0

    def pids() -> set[str]:
        return {file.read_text() for file in ablation.root.rglob("pid")}

    for _ in range(8):
        before = pids()
        process = ablation.start("--seeds", "3", "--slots", "2", "--", "--slow")
        until(lambda known=before, runner=process: pids() - known or runner.poll() is not None)
        time.sleep(chance.uniform(0, 1.2))
        kills += process.poll() is None
        process.kill()
        process.communicate()
        for file in ablation.root.rglob("pid"):
            if chance.random() < 0.5 and Path(f"/proc/{file.read_text() or None}").exists():
                os.kill(int(file.read_text()), signal.SIGKILL)
    assert kills > 3
    for root in ablation.root, straight:
        assert ablation("run", "--seeds", "3", "--root", str(root)) == 0
    one, other = (root / "mine@quick/mine@quick.csv" for root in (ablation.root, straight))
    assert one.read_text() == other.read_text()


@pytest.mark.slow
def test_random_kills_give_the_same_networks(tmp_path):
    cells, chance = ("no_head_rcus", "no_rcus"), random.Random(1)

    def epochs() -> int:
        return sum(file.read_text().count("Epoch") for file in (tmp_path / "killed").rglob("log.txt"))

    def start_in(root: str) -> subprocess.Popen:
        words = ["rcu_removal", "--on=scenes", "--cells", *cells, "--seeds=1", "--slots=2", f"--root={tmp_path / root}"]
        return start("ablate", "run", *words, "--", *SMALL[1:])

    for number in range(3):
        before = epochs()
        process = start_in("killed")
        until(lambda known=before, runner=process: epochs() > known or runner.poll() is not None, 120)
        assert process.poll() is None or number > 0
        time.sleep(chance.uniform(0, 2))
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if chance.random() < 0.7:
                os.kill(int(child), signal.SIGKILL)
        process.kill()
        process.communicate()
    for root in "killed", "straight":
        process = start_in(root)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
    for cell in cells:
        killed, straight = (RunId("scenes", "rcu_removal", cell, 0, str(tmp_path / root)) for root in ("killed", "straight"))
        assert confusion(killed) == confusion(straight) and same(weights(killed), weights(straight))


@pytest.fixture
def machine(monkeypatch, tmp_path) -> Callable[[int], None]:
    """Function that sets the number of GPUs that nvidia-smi lists."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def with_gpus(number: int) -> None:
        program = tmp_path / "bin/nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\nseq 0 {number - 1}\n" if number else "#!/bin/sh\necho no driver; exit 9\n")
        program.chmod(0o755)

    return with_gpus


@pytest.mark.parametrize(
    "gpus, visible, placement, expected",
    [
        (8, None, Placement(8), list("01234567")), (8, None, Placement(4), ["0,4", "1,5", "2,6", "3,7"]),
        (8, None, Placement(2, gpus=4), ["0,1,2,3", "4,5,6,7"]), (8, None, Placement(1), [None]),
        (2, None, Placement(3), ["0", "1", "0"]), (2, "4,5,6", Placement(2), ["4,6", "5"]), (2, "", Placement(2), ["", ""]),
    ],
)  # fmt: skip
def test_slots_share_gpus(machine, monkeypatch, gpus, visible, placement, expected):
    machine(gpus)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    placement.check()
    assert [placement.environment(slot).get("CUDA_VISIBLE_DEVICES") for slot in range(placement.slots)] == expected


def test_too_few_gpus(machine, ablation, capsys):
    machine(8)
    with pytest.raises(PlacementError, match="the machine has 8"):
        Placement(3, gpus=4).check()
    machine(0)
    assert ablation("run", "--gpus_per_run", "2") == 2
    assert "the machine has 0" in capsys.readouterr().err
    assert not ablation.root.exists()


def test_threads_and_trainer_options(machine, monkeypatch):
    machine(0)
    cores = len(os.sched_getaffinity(0))
    for placement, threads in (Placement(), None), (Placement(2), max(1, cores // 2)), (Placement(2, processes=cores), 1):
        assert placement.environment(0).get("OMP_NUM_THREADS") == (threads and str(threads))
    assert Placement(processes=2).arguments == ["--trainer.accelerator=cpu", "--trainer.devices=2"]
    assert Placement(2, gpus=4).arguments == ["--trainer.accelerator=gpu", "--trainer.devices=4"]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert Placement(2).environment(0)["OMP_NUM_THREADS"] == "7"


def test_exit_codes_in_logs(tmp_path):
    run = RunId("quick", root=str(tmp_path))
    assert noted_end(run) is None
    run.directory.mkdir(parents=True)
    note_end(run, -9)
    assert noted_end(run) == -9
    with log_file(run).open("a") as log:
        log.write("Epoch 0")
    assert noted_end(run) is None and noted_since(run, 0) == -9
    assert unfinished_state(run)[0] == "stopped"  # killed without a note
    begun = log_file(run).stat().st_size
    assert noted_since(run, begun) is None
    note_end(run, 1)
    with log_file(run).open("a") as log:
        log.write("more output")
    assert noted_since(run, begun) == 1


@pytest.fixture
def sweep(capsys, in_repository) -> dict:
    words = ["sweep", "rcu_removal", "--on", "scenes", "--seeds", "2", "--processes", "2", "--root", "runs"]
    assert ablate.run_command(words) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_sweep(sweep):
    cells = list(read_table(find_table("rcu_removal")).cells)
    assert sweep["method"] == "grid"
    assert sweep["parameters"] == {"run.cell": {"values": cells}, "seed_everything": {"values": [0, 1]}}
    found = find_spec("sweeps")  # not importable without its dependencies
    if found is None:
        pytest.skip("no schema of W&B's sweeps; pip install --no-deps sweeps, or make install")
    schema = json.loads((Path(found.origin).parent / "config/schema.json").read_text())
    jsonschema.validate(sweep, schema, cls=jsonschema.Draft7Validator)


def test_sweep_of_a_custom_table(table_file, capsys):
    assert ablate.run_command(["sweep", str(table_file), "--on", "scenes", "--seeds", "1"]) == 0
    command = yaml.safe_load(capsys.readouterr().out)["command"]
    assert command[command.index("--run.table") + 1] == str(table_file)


def test_command_of_the_sweep_agent(sweep, tmp_path):
    from wandb.sdk.launch.sweeps import utils

    filled = utils.create_sweep_command_args({"args": {"run.cell": {"value": "no_rcus"}, "seed_everything": {"value": 1}}})
    filled |= {"env": ["/usr/bin/env"]}
    command = []
    for word in utils.create_sweep_command(sweep["command"]):
        command += filled[word[2:-1]] if word.startswith("${") else [word]
    command += [*SMALL[1:], "--trainer.max_epochs=1", "--trainer.accelerator=cpu", f"--run.root={tmp_path}"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    record = results(RunId("scenes", "rcu_removal", "no_rcus", 1, str(tmp_path)))
    assert record["world_size"] == 2 and record["config"]["model"]["network"]["init_args"]["path_rcus"] == 0
