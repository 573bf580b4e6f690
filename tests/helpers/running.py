"""Commands in this or another process, on a small version of the built-in dataset, and the files that they write."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from helpers.forked import ForkedCommand
from helpers.repository import REPOSITORY
from refinenet_pl.cli.main import main
from refinenet_pl.tracking.identity import RunId

SMALL = [
    "-c=scenes", '--data.dataset_options={"size": 64, "samples": 24}', "--data.crop_size=[64, 64]", "--data.global_batch=8",
    "--model.network.init_args.width=8", "--model.network.init_args.deepest_width=8", "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=1",
]  # fmt: skip
# One epoch of three steps within a second, in this process.
QUICK = [
    *SMALL, '--data.dataset_options={"size": 64, "samples": 6}', "--data.crop_size=[32, 32]", "--data.global_batch=2",
    "--data.evaluation_batch=1", "--data.num_workers=0", "--track=none", "--trainer.accelerator=cpu", "--trainer.devices=1",
    "--trainer.enable_model_summary=false", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=1",
]  # fmt: skip
PLAIN = (sys.executable, "-m")


def command(name: str, run: RunId, *more: str) -> list[str]:
    """Arguments of a command on a run."""
    names = [f"--run.table={run.table}", f"--run.cell={run.cell}", f"--run.root={run.root}"]
    return [name, *SMALL, f"--seed_everything={run.seed}", *names, *more]


def start(*arguments: str, launcher: Sequence[str] = (), **environment: str | None) -> subprocess.Popen | ForkedCommand:
    """Start a command in the repository, forked or by a launcher; None removes a variable from the environment."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    # W&B completes its record when the interpreter exits, which a forked process does not.
    if not launcher and variables.get("WANDB_MODE") == "disabled":
        return ForkedCommand(arguments, REPOSITORY, variables)
    # Without stdin, so that a prompt ends the process.
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [*(launcher or PLAIN), "refinenet_pl", *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, env=variables, start_new_session=True, **streams)


def run(*arguments: str, code: int = 0, **options) -> str:
    """Run a command, check its exit code, and return its output."""
    process = start(*arguments, **options)
    with ended_in_time(process):
        output, _ = process.communicate()
    assert process.returncode == code, output
    return output


@contextmanager
def ended_in_time(process: subprocess.Popen | ForkedCommand, seconds: float = 500) -> Iterator[None]:
    """Kill a process and those that it started if the block takes longer, so that reading its output cannot wait forever.

    The default is less than pytest's own timeout (setup.cfg), which would leave the process running.
    """
    timer = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def wait_for(process: subprocess.Popen | ForkedCommand, pattern: str) -> str:
    """Read the output of a process up to a pattern, and return it."""
    output = ""
    with ended_in_time(process):
        while not re.search(pattern, output):
            character = process.stdout.read(1)
            assert character, output
            output += character
    return output


def kill_at(arguments: list[str], pattern: str, number: int, group: bool = True, **environment: str | None) -> tuple[int, str]:
    """Start a command, send a signal when its output matches a pattern, and return its exit code and output."""
    process = start(*arguments, **environment)
    output = wait_for(process, pattern)
    (os.killpg if group else os.kill)(process.pid, number)
    with ended_in_time(process, 120):
        rest, _ = process.communicate()
    return process.returncode, output + rest


def results(run: RunId) -> dict:
    """The record of a run."""
    return json.loads(run.results_file.read_text())


def confusion(run: RunId) -> list:
    """The confusion matrix at the end of training."""
    return results(run)["evaluations"]["val"]["confusion"]


def weights(run: RunId) -> dict[str, torch.Tensor]:
    """The network at the end of training."""
    return torch.load(run.directory / "last.ckpt", weights_only=True)["state_dict"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Test if two networks are bit-equal."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def fit(root: Path, *arguments: str) -> dict:
    """Train in this process, and return the only record in `root`."""
    main(["fit", *QUICK, f"--run.root={root}", *arguments])
    return record(root)


def record(root: Path) -> dict:
    """The only record in `root`, which must be valid JSON."""
    (file,) = root.rglob("results.json")
    return json.loads(file.read_text(), parse_constant=lambda constant: pytest.fail(f"results.json contains {constant}"))


def refusal(capsys, command: str, *arguments: str) -> str:
    """The error message, without a traceback, of a command in this process."""
    with pytest.raises(SystemExit) as exit_:
        main([command, *QUICK, *arguments])
    assert exit_.value.code not in (0, None)
    message = f"{exit_.value.code} {capsys.readouterr().err}"
    assert "Traceback" not in message
    return message
