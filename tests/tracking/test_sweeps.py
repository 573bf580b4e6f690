"""W&B sweeps: `wandb sweep` and `wandb agent` in their own processes, with the server of the tests."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from helpers import wandb_server
from helpers.repository import REPOSITORY
from helpers.running import QUICK, SMALL, confusion, ended_in_time, results, run, same, weights
from helpers.tables import rows

from refinenet_pl.tracking.identity import RunId

pytestmark = [pytest.mark.slow, pytest.mark.integration]

PROGRAMS = Path(sys.executable).parent
FREE = ["${env}", "refinenet", "fit", *(option for option in QUICK if option != "--track=none"), "--run.cell=auto"]
LONG = ["${env}", "refinenet", "fit", *SMALL, "--trainer.max_epochs=30", "--trainer.accelerator=cpu", "--run.cell=auto"]
ONE = {"model.learning_rate": {"values": [0.02]}, "model.power": {"values": [0.5]}, "seed_everything": {"values": [3]}}


@pytest.fixture
def server() -> Iterator[wandb_server.Server]:
    with wandb_server.serving() as server:
        yield server


def create(server: wandb_server.Server, file: Path) -> str:
    """Run `wandb sweep` on a file, and return the `wandb agent` command that it prints."""
    command = [PROGRAMS / "wandb", "sweep", file]
    environment = {**os.environ, **server.environment}
    done = subprocess.run(command, env=environment, cwd=file.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr.partition("Run sweep agent with: ")[2].splitlines()[0]


def write(folder: Path, command: list[str], parameters: dict, **more: object) -> Path:
    """Write a sweep by hand."""
    metric = {"name": "val/miou", "goal": "maximize"}
    sweep = {"program": "refinenet", "project": "refinenet_pl", "method": "grid", "metric": metric, "parameters": parameters}
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep | {"command": [*command, "${args}"]} | more))
    return file


def start_agent(server: wandb_server.Server, command: str, folder: Path) -> subprocess.Popen:
    environment = {**os.environ, **server.environment, "OMP_NUM_THREADS": "1", "WANDB_DIR": str(folder)}
    environment["PATH"] = f"{PROGRAMS}:{os.environ['PATH']}"
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(shlex.split(command), cwd=REPOSITORY, env=environment, start_new_session=True, **streams)


def run_agent(server: wandb_server.Server, command: str, folder: Path) -> str:
    """Run an agent until the sweep has ended."""
    process = start_agent(server, command, folder)
    with ended_in_time(process, 500):
        output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_free_sweep(server, tmp_path):
    parameters = {
        "model.learning_rate": {"values": [0.01, 0.02]},  # the first one is the recipe's
        "model.network.init_args.pooling_blocks": {"values": [1, 4]},
        "seed_everything": {"values": [3]},
        "model.network.init_args.encoder_weights": {"value": None},
        "model.freeze_batch_norm": {"value": False},
        "data.scales": {"value": [0.5, 1.0]},
    }
    root = tmp_path / "runs"
    file = write(tmp_path, [*FREE, "--run.table=rates", f"--run.root={root}"], parameters)
    output = run_agent(server, create(server, file), tmp_path)
    (sweep,) = server.sweeps.sweeps.values()
    assert len(sweep["started"]) == 4, output
    configs = [json.loads(file.read_text())["config"] for file in root.glob("*/*/*/results.json")]
    assert len(configs) == 4, output
    got = {(config["model"]["learning_rate"], config["model"]["network"]["init_args"]["pooling_blocks"]) for config in configs}
    assert got == {(0.01, 1), (0.01, 4), (0.02, 1), (0.02, 4)}
    for config in configs:
        assert config["model"]["network"]["init_args"]["encoder_weights"] is None
        assert config["model"]["freeze_batch_norm"] is False and config["data"]["scales"] == [0.5, 1.0]
        assert config["seed_everything"] == 3
    for id_ in sweep["started"]:
        sent = server.runs[id_]
        record = json.loads(sent["files"]["results.json"])
        scores = [row["val/miou"] for row in sent["history"] if "val/miou" in row]
        assert sent["groupName"] == "rates@scenes"
        assert scores[-1] == pytest.approx(record["evaluations"]["val"]["miou"], rel=1e-6)
    for arguments in ([str(root)], [str(tmp_path / "gathered"), "--wandb=team/refinenet_pl"]):
        page = run("report", *arguments, "-o", str(tmp_path / "page.html"), **server.environment)
        labels = {row[0]: float(row[1]) for row in rows(page)[1:]}
        assert labels.keys() == {f"learning_rate {rate}, pooling_blocks {n}" for rate in (0.01, 0.02) for n in (1, 4)}
        assert list(labels.values()) == sorted(labels.values(), reverse=True)
        assert "Warning" not in page


def only_run(root: Path) -> RunId:
    (directory,) = root.glob("single@scenes/*/seed3")
    return RunId("scenes", "single", directory.parent.name, 3, str(root))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> RunId:
    """The run of `ONE` without an agent."""
    root = tmp_path_factory.mktemp("undisturbed")
    given = [f"--{key}={parameter['values'][0]}" for key, parameter in ONE.items()]
    run(*LONG[2:], f"--run.root={root}", *given, "--track=none")
    return only_run(root)


def kill(server: wandb_server.Server, agent: subprocess.Popen) -> None:
    """Kill an agent, and the run that it has started, once that has trained an epoch."""
    wait_until(lambda: any("val/miou" in row for sent in server.runs.values() for row in sent["history"]))
    subprocess.run(["pkill", "-KILL", "-P", str(agent.pid)], check=True)
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()


def stop(server: wandb_server.Server, agent: subprocess.Popen) -> None:
    """Let hyperband stop the run, because another one is better after the first validation."""
    (sweep,) = server.sweeps.sweeps.values()
    sweep["started"]["better"] = {}
    server.runs["better"] = {"history": [{"val/miou": 1.0}], "name": "better"}
    with ended_in_time(agent):
        output, _ = agent.communicate()
    assert "stopped by SIGTERM" in output and agent.returncode == 0, output
    del sweep["started"]["better"], server.runs["better"]


@pytest.mark.parametrize("interrupt", [kill, stop])
def test_interrupted_run_resumes(server, tmp_path, undisturbed, interrupt):
    root = tmp_path / "runs"
    early = {"early_terminate": {"type": "hyperband", "min_iter": 1}}
    command = create(server, write(tmp_path, [*LONG, f"--run.root={root}"], ONE, **early))
    interrupt(server, start_agent(server, command, tmp_path))
    interrupted = only_run(root)
    assert not interrupted.results_file.exists() and (interrupted.directory / "last.ckpt").is_file()
    (sweep,) = server.sweeps.sweeps.values()
    (values,) = sweep["started"].values()
    sweep["waiting"].append(values)
    run_agent(server, command, tmp_path)
    assert only_run(root) == interrupted and undisturbed.cell == interrupted.cell
    assert confusion(interrupted) == confusion(undisturbed)
    assert same(weights(interrupted), weights(undisturbed))
    assert len(results(interrupted)["curve"]) == 30
    sweep["waiting"].append(values)
    assert "already finished" in run_agent(server, command, tmp_path)
    *_, last = server.runs.values()
    scores = [row["val/miou"] for row in last["history"] if "val/miou" in row]
    assert len(scores) >= 30, "a finished run is logged for the sweep"


def test_sweep_of_a_table(server, tmp_path):
    root = tmp_path / "runs"
    words = ["--seeds=1", "--cells", "cascade_1", "cascade_2", f"--root={root}"]
    text = run("ablate", "sweep", "cascade", "--on=scenes", *words)
    sweep = yaml.safe_load(text)
    assert sweep["command"][-1] == "${args}"
    sweep["command"][-1:] = [option for option in QUICK if option not in ("-c=scenes", "--track=none")] + ["${args}"]
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep))
    output = run_agent(server, create(server, file), tmp_path)
    names = {tuple(json.loads(path.read_text())["run"].values()) for path in root.glob("*/*/*/results.json")}
    assert names == {("scenes", "cascade", cell, 0) for cell in ("cascade_1", "cascade_2")}, output
    assert {sent["groupName"] for sent in server.runs.values()} == {"cascade@scenes"}
    assert {sent["sweep"] for sent in server.runs.values()} == {"sweep0"}


def test_sweep_of_the_docs(server, tmp_path):
    (text,) = re.findall(r"^```yaml\n(# sweep.yaml\n.*?)^```", (REPOSITORY / "docs/tracking.md").read_text(), re.M | re.S)
    sweep, root = yaml.safe_load(text), tmp_path / "runs"
    assert sweep["method"] == "bayes" and sweep["command"][-1] == "${args}"
    sweep["command"][-1:] = [option for option in QUICK if option not in ("-c=scenes", "--track=none")]
    sweep["command"] += [f"--run.root={root}", "${args}"]
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep, sort_keys=False))
    output = run_agent(server, create(server, file), tmp_path)
    (stored,) = server.sweeps.sweeps.values()
    expected = [tuple(values.values()) for values in stored["started"].values()]
    configs = [json.loads(file.read_text())["config"] for file in root.glob("rates@scenes/*/*/results.json")]
    model = [(config["model"], config["seed_everything"]) for config in configs]
    got = [(part["learning_rate"], part["network"]["init_args"]["pooling_blocks"], seed) for part, seed in model]
    assert sorted(got) == sorted(expected) and len(got) == 3, output
