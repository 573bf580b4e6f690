"""The command line as users start it, on a small version of the built-in data set, and what it leaves."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from helpers.repository import REPOSITORY
from refinenet_pl.cli.main import main
from refinenet_pl.tracking.identity import RunId

SMALL = [
    "-c=scenes",
    '--data.dataset_options={"size": 64, "samples": 24}',
    "--data.crop_size=[64, 64]",
    "--data.global_batch=8",
    "--model.network.init_args.width=8",
    "--model.network.init_args.deepest_width=8",
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=1",
]
# Trains within a second in this process, for three steps an epoch.
QUICK = [
    *SMALL,
    '--data.dataset_options={"size": 64, "samples": 6}',
    "--data.crop_size=[32, 32]",
    "--data.global_batch=2",
    "--data.evaluation_batch=1",
    "--data.num_workers=0",
    "--track=none",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.enable_model_summary=false",
    "--trainer.enable_progress_bar=false",
    "--trainer.max_epochs=1",
]
PLAIN = (sys.executable, "-m")


def start(*arguments: str, launcher: Sequence[str] = PLAIN, **environment: str | None) -> subprocess.Popen:
    """Start `python -m refinenet_pl` in the repository; None takes a variable out of the environment."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [*launcher, "refinenet_pl", *arguments],
        cwd=REPOSITORY,
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,  # a prompt would end the process
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: str, code: int = 0, **options) -> str:
    """Run it to its end, which has the exit code that is expected, and give what it printed."""
    process = start(*arguments, **options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def kill_at(arguments: list[str], pattern: str, number: int, group: bool = True, **environment: str | None) -> tuple[int, str]:
    """Start a run, send a signal when it prints something, and give its exit code and the rest of what it prints."""
    process, printed = start(*arguments, **environment), ""
    while not re.search(pattern, printed):
        character = process.stdout.read(1)
        assert character, printed
        printed += character
    (os.killpg if group else os.kill)(process.pid, number)
    rest, _ = process.communicate(timeout=120)
    return process.returncode, printed + rest


def results(run: RunId) -> dict:
    return json.loads(run.results_file.read_text())


def confusion(run: RunId) -> list:
    """The confusion matrix at the end of training."""
    return results(run)["evaluations"]["val"]["confusion"]


def weights(run: RunId) -> dict[str, torch.Tensor]:
    """The network at the end of training."""
    return torch.load(run.directory / "last.ckpt", weights_only=True)["state_dict"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two networks are the same to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def fit(root: Path, *arguments: str) -> dict:
    """Train in this process, and read the only record below `root`, which must be valid JSON."""
    main(["fit", *QUICK, f"--run.root={root}", *arguments])
    return record(root)


def record(root: Path) -> dict:
    """The only record below `root`, which must be valid JSON."""
    (file,) = root.rglob("results.json")
    return json.loads(file.read_text(), parse_constant=lambda constant: pytest.fail(f"results.json holds {constant}"))


def refusal(capsys, command: str, *arguments: str) -> str:
    """The message with which a command ends in this process."""
    with pytest.raises(SystemExit) as ended:
        main([command, *QUICK, *arguments])
    assert ended.value.code not in (0, None)
    return f"{ended.value.code} {capsys.readouterr().err}"
