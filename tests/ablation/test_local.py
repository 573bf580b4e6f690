"""Running tables on this machine: slots, devices, failures, kills, two runners at once, and sweeps."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from helpers.repository import REPOSITORY
from helpers.running import SMALL, confusion, same, weights

from refinenet_pl.ablation import plan
from refinenet_pl.ablation.devices import Placement, PlacementError
from refinenet_pl.ablation.local import Runner
from refinenet_pl.ablation.logs import log_file, note_end, noted_end, noted_since
from refinenet_pl.ablation.slurm import Request
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.cli import ablate
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.lock import is_locked

# Stands in for the training: with its lock, and as long and ending as the words after it say. Without the package, whose import
# takes seconds.
TRAINING = """\
import fcntl, json, os, pathlib, signal, sys, time
options = dict(zip(sys.argv, sys.argv[1:]))
recipe, table = (pathlib.Path(options[option]).stem for option in ("-c", "--run.table"))
cell, seed, root = options["--run.cell"], int(options["--seed_everything"]), options["--run.root"]
directory = pathlib.Path(root, f"{table}@{recipe}", cell, f"seed{seed}")
directory.mkdir(parents=True, exist_ok=True)
lock = open(directory / "lock", "a+")
for attempt in range(11):
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except OSError:
        time.sleep(0.05)
else:
    sys.exit(75)
if (directory / "results.json").exists():
    sys.exit(0)
with open(root + "/trained.txt", "a") as trained:
    trained.write(f"{cell}-seed{seed}\\n")
print("Epoch 0:  50%|#####     |")
print("threads", os.environ.get("OMP_NUM_THREADS"), "devices", os.environ.get("CUDA_VISIBLE_DEVICES"))
(directory / "pid").write_text(str(os.getpid()))
if "--stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "--hang" in sys.argv:
    time.sleep(60)
if "--slow" in sys.argv:
    time.sleep(1)
if cell == "shallow" and "--break" in sys.argv:
    print("the last words")
    sys.exit(3)
if cell == "middle" and "--break" in sys.argv:
    sys.exit(0)
(directory / "results.json").write_text(json.dumps({
    "format": 1,
    "run": {"recipe": recipe, "table": table, "cell": cell, "seed": seed},
    "evaluations": {"val": {"miou": 0.5 + 0.01 * seed}},
}))
"""


@pytest.fixture
def training(tmp_path):
    """A command that trains nothing, and a recipe for it."""
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    (tmp_path / "quick.yaml").write_text("{}")
    return [sys.executable, str(script)]


def words(table_file, tmp_path, *more, command="run"):
    return [command, str(table_file), "--on", str(tmp_path / "quick.yaml"), "--root", str(tmp_path / "runs"), *more]


def start(arguments: list[str], training: list[str]) -> subprocess.Popen:
    """ablate.py in a process of its own, with another training."""
    code = "import sys; from refinenet_pl.cli import ablate\n"
    code += f"sys.exit(ablate.run_command({arguments!r}, {training!r}))"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def trained(tmp_path) -> list[str]:
    """The names of the runs that were begun."""
    return (tmp_path / "runs/trained.txt").read_text().split()


def hanging(table_file, training, tmp_path) -> tuple[subprocess.Popen, int]:
    """A runner in the middle of a run, and the id of the process that trains it."""
    process = start(words(table_file, tmp_path, "--seeds", "1", "--cells", "paper", "--", "--hang"), training)
    file = tmp_path / "runs/mine@quick/paper/seed0/pid"
    until(lambda: file.exists() and file.read_text())
    return process, int(file.read_text())


# One runner


def test_run_runs_what_is_missing_and_writes_the_table(table_file, training, tmp_path, capfd):
    arguments = words(table_file, tmp_path, "--seeds", "2")
    assert ablate.run_command(arguments, training) == 0
    shown = capfd.readouterr().out
    assert "51.0 % mIoU on val; 6 of 6 runs done" in shown
    assert "50.5 ± 0.7" in shown
    group = tmp_path / "runs/mine@quick"
    assert {path.name for path in group.glob("mine@quick.*")} == {"mine@quick.md", "mine@quick.csv", "mine@quick.png"}
    log = group / "paper/seed0/log.txt"
    assert "Epoch 0" in log.read_text()
    # Only the one that is taken away is made again; its log goes on.
    (group / "paper/seed0/results.json").unlink()
    others = {file: file.stat().st_mtime_ns for file in group.glob("*/*/results.json")}
    assert ablate.run_command(arguments, training) == 0
    assert {file: file.stat().st_mtime_ns for file in others} == others
    assert log.read_text().count("Epoch 0") == 2


def test_failed_runs_are_shown_and_the_others_go_on(table_file, training, tmp_path, capfd):
    arguments = words(table_file, tmp_path, "--seeds", "1", "--slots", "2", "--", "--break")
    assert ablate.run_command(arguments, training) == 1
    out, err = capfd.readouterr()
    assert "shallow-seed0: FAILED, exit code 3" in out
    assert "  | the last words" in out
    assert "middle-seed0: FAILED, it ended without writing results.json" in out
    assert "1 of 3 runs done" in out
    assert out.count("0/1 (1 failed)") == 2
    assert "shallow-seed0 has failed (exit code 3: the last words)" in out
    assert "middle-seed0 has failed (ended without results: threads" in out
    assert "mine@quick/shallow/seed0, " in err


def test_a_run_that_was_told_to_stop_is_no_failure_but_the_table_is_not_complete(table_file, training, tmp_path, capfd):
    process, trainer = hanging(table_file, training, tmp_path)
    os.kill(trainer, signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "paper-seed0: was told to stop; start the same command again to go on" in out
    assert "Stopped, start this again" in err and "fail" not in (out + err).lower()
    assert ablate.run_command(words(table_file, tmp_path, "--seeds", "1", command="status")) == 1
    assert re.search(r"paper +0 +stopped +run it again to go on", capfd.readouterr().out)


def test_a_run_that_the_system_kills_is_reported_so(table_file, training, tmp_path, capfd):
    process, trainer = hanging(table_file, training, tmp_path)
    os.kill(trainer, signal.SIGKILL)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "paper-seed0: FAILED, killed (SIGKILL), perhaps for lack of memory" in out
    ablate.run_command(words(table_file, tmp_path, "--seeds", "1", "--cells", "paper", command="status"))
    assert re.search(r"paper +0 +failed +killed \(SIGKILL\)", capfd.readouterr().out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_runs_too(table_file, training, tmp_path, number):
    more = ["--seeds", "1", "--slots", "2", "--cells", "paper", "middle", "--", "--hang"]
    process = start(words(table_file, tmp_path, *more), training)
    files = [tmp_path / f"runs/mine@quick/{cell}/seed0/pid" for cell in ("paper", "middle")]
    try:
        until(lambda: all(file.exists() and file.read_text() for file in files))
        children = [int(file.read_text()) for file in files]
        process.send_signal(number)
        _, err = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "start the same command again" in err
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_a_run_that_had_to_be_killed_on_ctrl_c_is_no_failure(table_file, training, tmp_path, capfd):
    process = start(words(table_file, tmp_path, "--seeds", "1", "--cells", "paper", "--", "--hang", "--stubborn"), training)
    until((file := tmp_path / "runs/mine@quick/paper/seed0/pid").exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)  # at once, then
    process.communicate(timeout=15)
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
    assert ablate.run_command(words(table_file, tmp_path, "--seeds", "1", command="status")) == 1
    assert re.search(r"paper +0 +stopped", capfd.readouterr().out)


def test_a_run_that_cannot_be_started_is_shown_and_the_others_go_on(table_file, training, tmp_path, capfd):
    in_the_way = tmp_path / "runs/mine@quick/paper"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    assert ablate.run_command(words(table_file, tmp_path, "--seeds", "1"), training) == 1
    out, err = capfd.readouterr()
    assert "paper-seed0: FAILED, [Errno 20] Not a directory" in out
    assert "2 of 3 runs done" in out and f"Failed: {in_the_way}/seed0" in err


# Several runners, and killed ones


def test_two_runners_of_a_table_train_each_cell_once_and_both_end_with_the_table(table_file, training, tmp_path):
    arguments = words(table_file, tmp_path, "--seeds", "2", "--slots", "2", "--", "--slow")
    both = [start(arguments, training) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        assert "50.5 ± 0.7" in out and "missing" not in out
    assert sorted(trained(tmp_path)) == sorted(
        f"{cell}-seed{seed}" for cell in ("paper", "shallow", "middle") for seed in (0, 1)
    )


def test_a_run_left_behind_is_waited_for_and_taken_over_when_it_dies(table_file, training, tmp_path):
    more = ["--seeds", "1", "--cells", "paper"]
    process = start(words(table_file, tmp_path, *more, "--", "--hang"), training)
    file = tmp_path / "runs/mine@quick/paper/seed0/pid"
    until(lambda: file.exists() and file.read_text())
    process.kill()  # the training goes on: it has a session of its own
    process.communicate()
    assert is_locked(RunId("quick", "mine", "paper", 0, str(tmp_path / "runs")))
    second = start(words(table_file, tmp_path, *more), training)
    assert "paper-seed0: another process trains it; waiting for that one" in second.stdout.readline()
    os.kill(int(file.read_text()), signal.SIGKILL)
    out, _ = second.communicate(timeout=30)
    assert second.returncode == 0 and "1 of 1 runs done" in out
    assert trained(tmp_path) == ["paper-seed0"] * 2


def test_killed_at_random_it_ends_in_the_same_table(table_file, training, tmp_path):
    arguments = words(table_file, tmp_path, "--seeds", "3", "--slots", "2", "--", "--slow")
    chance = random.Random(0)
    for _ in range(8):
        process = start(arguments, training)
        time.sleep(chance.uniform(0.3, 2.5))
        process.kill()
        process.communicate()
        for file in (tmp_path / "runs").rglob("pid"):  # sometimes the training too
            if chance.random() < 0.5 and file.read_text():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(file.read_text()), signal.SIGKILL)
    process = start(arguments, training)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, out + err
    whole = start(words(table_file, tmp_path / "straight", "--seeds", "3")[:3] + [
        str(tmp_path / "quick.yaml"), "--root", str(tmp_path / "straight"), "--seeds", "3"], training)  # fmt: skip
    whole.communicate(timeout=90)
    tables = [root / "mine@quick/mine@quick.csv" for root in (tmp_path / "runs", tmp_path / "straight")]
    assert tables[0].read_text() == tables[1].read_text()


def test_a_real_table_killed_at_random_ends_in_the_same_networks(tmp_path):
    def command(root: Path) -> list[str]:
        cells = ["--cells", "no_head_rcus", "no_rcus", "--seeds", "1", "--slots", "2", "--root", str(root)]
        return [sys.executable, "experiments/ablate.py", "run", "rcu_removal", "--on", "scenes", *cells, "--", *SMALL[1:]]

    def ablate_process(root: Path) -> subprocess.Popen:
        return subprocess.Popen(
            command(root), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    chance = random.Random(1)
    for _ in range(3):
        process = ablate_process(tmp_path / "killed")
        time.sleep(chance.uniform(4, 14))
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if chance.random() < 0.7:
                os.kill(int(child), signal.SIGKILL)
        process.kill()
        process.communicate()
    for root in "killed", "straight":
        process = ablate_process(tmp_path / root)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
    for cell in "no_head_rcus", "no_rcus":
        killed, straight = (RunId("scenes", "rcu_removal", cell, 0, str(tmp_path / root)) for root in ("killed", "straight"))
        assert confusion(killed) == confusion(straight) and same(weights(killed), weights(straight))


# Threads and devices


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretends what the driver lists; gives the function that sets it."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def with_gpus(number: int) -> None:
        program = tmp_path / "bin/nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\nseq 0 {number - 1}\n" if number else "#!/bin/sh\necho no driver; exit 9\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return with_gpus


def devices(placement: Placement) -> list[str | None]:
    return [placement.environment(slot).get("CUDA_VISIBLE_DEVICES") for slot in range(placement.slots)]


def test_slots_share_the_gpus(machine, monkeypatch):
    machine(8)
    assert devices(Placement(8)) == list("01234567")
    assert devices(Placement(4)) == ["0,4", "1,5", "2,6", "3,7"]
    assert devices(Placement(1)) == [None], "a single run sees all of them"
    machine(2)
    assert devices(Placement(3)) == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert devices(Placement(2)) == ["4,6", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices(Placement(2)) == ["", ""]


def test_runs_of_several_gpus_get_neighbours(machine):
    machine(8)
    placement = Placement(2, gpus=4)
    placement.check()
    assert devices(placement) == ["0,1,2,3", "4,5,6,7"]
    assert placement.arguments == ["--trainer.accelerator=gpu", "--trainer.devices=4"]
    with pytest.raises(PlacementError, match="3 slots x 4 GPUs a run = 12, but there are 8"):
        Placement(3, gpus=4).check()
    machine(0)
    with pytest.raises(PlacementError, match="there are 0"):
        Placement(1, gpus=1).check()


def test_threads_are_divided(machine, monkeypatch):
    machine(0)
    cores = len(os.sched_getaffinity(0))
    threads = [placement.environment(0).get("OMP_NUM_THREADS") for placement in (Placement(), Placement(2))]
    assert threads == [None, str(max(1, cores // 2))]
    assert Placement(2, processes=cores).environment(1)["OMP_NUM_THREADS"] == "1"
    assert Placement(processes=2).arguments == ["--trainer.accelerator=cpu", "--trainer.devices=2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert Placement(2).environment(0)["OMP_NUM_THREADS"] == "7", "what the user sets wins"


def test_a_run_is_told_its_slot(table_file, training, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    planned = plan.plan(read_table(table_file), tmp_path / "quick.yaml", [0, 1], ["paper"], str(tmp_path / "runs"))
    outcome = Runner(Placement(2), training)(planned)
    assert len(outcome.done) == 2
    logs = [log_file(job.run).read_text() for job in planned]
    assert "devices 4,6" in logs[0] and "devices 5" in logs[1]


def test_too_many_gpus_are_an_error_before_anything_runs(table_file, training, tmp_path, machine, capsys):
    machine(0)
    assert ablate.run_command(words(table_file, tmp_path, "--seeds", "1", "--gpus_per_run", "2"), training) == 2
    assert "1 slots x 2 GPUs a run = 2, but there are 0" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# Status


def test_status_tells_every_state(table_file, training, tmp_path, capfd):
    root = str(tmp_path / "runs")
    arguments = words(table_file, tmp_path, "--seeds", "1", command="status")
    assert ablate.run_command(arguments) == 1
    assert "3 not started" in capfd.readouterr().out
    assert ablate.run_command(words(table_file, tmp_path, "--seeds", "1", "--", "--break"), training) == 1
    capfd.readouterr()
    assert ablate.run_command(arguments) == 1
    out = capfd.readouterr().out
    assert re.search(r"paper +0 +done +50.0 % mIoU on val", out)
    assert re.search(r"shallow +0 +failed +exit code 3: the last words", out)
    assert "1 done, 2 failed" in out and f"log: {root}/mine@quick/shallow/seed0/log.txt" in out
    process = start(words(table_file, tmp_path, "--seeds", "1", "--cells", "middle", "--", "--hang"), training)
    run = RunId("quick", "mine", "middle", 0, root)
    until(lambda: is_locked(run) and "threads" in log_file(run).read_text().split("ended")[-1])
    assert ablate.run_command(arguments) == 1
    assert re.search(r"middle +0 +running +epoch 0", capfd.readouterr().out)
    process.kill()
    process.communicate()
    os.kill(int((run.directory / "pid").read_text()), signal.SIGKILL)
    until(lambda: not is_locked(run))
    assert ablate.run_command(arguments) == 1
    assert re.search(r"middle +0 +stopped", capfd.readouterr().out), "killed together with what started it"
    assert ablate.run_command(words(table_file, tmp_path, "--seeds", "1"), training) == 0
    assert ablate.run_command(arguments) == 0


def test_how_a_run_ended_is_the_last_word_of_its_log(tmp_path):
    run = RunId("quick", root=str(tmp_path))
    assert noted_end(run) is None
    run.directory.mkdir(parents=True)
    note_end(run, -9)
    assert noted_end(run) == -9
    with log_file(run).open("a") as log:
        log.write("Epoch 0")
    assert noted_end(run) is None, "it was started again"
    assert noted_since(run, 0) == -9
    begun = log_file(run).stat().st_size
    assert noted_since(run, begun) is None
    note_end(run, 1)
    with log_file(run).open("a") as log:
        log.write("told to stop")
    assert noted_since(run, begun) == 1, "another process's failure, though this one has printed since"


# Slurm, as far as it can be told without one


def test_processes_that_nodes_cannot_share_are_refused_with_the_arithmetic():
    with pytest.raises(PlacementError, match="4 GPUs a run on 3 nodes: 4 / 3 = 1.33"):
        Request(gpus=4, nodes=3).parameters("table@recipe")
    asked = Request(gpus=16, nodes=2, cpus=8, more={"partition": "gpu"}).parameters("table@recipe")
    assert (asked["nodes"], asked["ntasks_per_node"], asked["gpus_per_node"], asked["cpus_per_task"]) == (2, 8, 8, 8)
    assert asked["additional_parameters"] == {"requeue": True, "partition": "gpu"}


def test_without_slurm_the_message_says_what_is_missing(table_file, training, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ablate.run_command(words(table_file, tmp_path, "--seeds", "1", "--engine", "slurm"), training) == 2
    assert "there is no sbatch here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--nodes", "2"], "--nodes is for --engine slurm"),
        (["--slurm", "qos=low"], "--slurm is for --engine slurm"),
        (["--engine", "slurm", "--slots", "2"], "--slots is for --engine local"),
        (["--engine", "slurm", "--slurm", "qos"], "'qos' is not of the form KEY=VALUE"),
        (["--gpus_per_run", "1", "--processes_per_run", "2"], "not allowed with"),
    ],
)
def test_options_that_would_not_be_heeded_are_refused(table_file, training, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit):
        ablate.run_command(words(table_file, tmp_path, "--seeds", "1", *more), training)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# Sweeps


@pytest.fixture
def sweep(capsys, monkeypatch) -> dict:
    monkeypatch.chdir(REPOSITORY)
    assert (
        ablate.run_command(["sweep", "rcu_removal", "--on", "scenes", "--seeds", "2", "--processes", "2", "--root", "runs"])
        == 0
    )
    return yaml.safe_load(capsys.readouterr().out)


def test_sweep_is_a_grid_over_cells_and_seeds(sweep):
    cells = list(read_table(REPOSITORY / "experiments/tables/rcu_removal.yaml").cells)
    assert sweep["method"] == "grid"
    assert sweep["parameters"] == {"run.cell": {"values": cells}, "seed_everything": {"values": [0, 1]}}


def test_sweep_of_a_table_of_ones_own_names_its_file(table_file, capsys):
    assert ablate.run_command(["sweep", str(table_file), "--on", "scenes", "--seeds", "1"]) == 0
    command = yaml.safe_load(capsys.readouterr().out)["command"]
    assert command[command.index("--run.table") + 1] == str(table_file)


def test_sweep_is_what_wandb_takes(sweep):
    found = find_spec("sweeps")
    if found is None:
        pytest.skip("W&B's schema of sweeps is not installed; pip install --no-deps sweeps, or make install")
    import jsonschema

    schema = json.loads((Path(found.submodule_search_locations[0]) / "config/schema.json").read_text())
    jsonschema.validate(sweep, schema, cls=jsonschema.Draft7Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**sweep, "method": "gird"}, schema, cls=jsonschema.Draft7Validator)


def test_what_the_agent_of_a_sweep_starts_trains_the_cell(sweep, tmp_path):
    from wandb.sdk.launch.sweeps import utils

    filled = utils.create_sweep_command_args({"args": {"run.cell": {"value": "no_rcus"}, "seed_everything": {"value": 1}}})
    filled |= {"env": ["/usr/bin/env"]}
    command = []
    for word in utils.create_sweep_command(sweep["command"]):
        command += filled[word[2:-1]] if word.startswith("${") else [word]
    more = [*SMALL[1:], "--trainer.max_epochs=1", "--trainer.accelerator=cpu", f"--run.root={tmp_path}"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*command, *more],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(RunId("scenes", "rcu_removal", "no_rcus", 1, str(tmp_path)).results_file.read_text())
    assert record["world_size"] == 2
    assert record["config"]["model"]["network"]["init_args"]["path_rcus"] == 0
