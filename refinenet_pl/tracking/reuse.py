"""A finished run of another name that is the same training: its record and checkpoints instead of the training."""

import contextlib
import json
import os
import shutil

from refinenet_pl.callbacks.checkpoint_files import LAST
from refinenet_pl.callbacks.results import write_json
from refinenet_pl.files import expand_path
from refinenet_pl.tracking.configuration import differences, save_configuration
from refinenet_pl.tracking.identity import RunId

_NAMES = {"run.table", "run.cell"}
_CHECKPOINTS = ("best.ckpt", LAST)


def find_twin(run: RunId, config: dict) -> RunId | None:
    """A finished run of the same recipe and seed below the same root, trained under its own name with the same configuration.

    Args:
        run: The run that would be trained.
        config: Its resolved configuration.

    Returns:
        None where there is none. Of several the first by name.
    """
    for file in sorted(expand_path(run.root).glob(f"*@{run.recipe}/*/seed{run.seed}/results.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not a record
            record = json.loads(file.read_text(encoding="utf-8"))
            twin = RunId(**record["run"], root=run.root)
            moved = twin.directory.resolve() != file.parent.resolve()
            # A run that goes on may find its data elsewhere; in another run that may be other data.
            same_data = record["config"]["data"]["root"] == config["data"]["root"]
            same = same_data and not differences(record["config"], config).keys() - _NAMES
            if same and not moved and "trained_as" not in record:
                return twin
    return None


def has_begun(run: RunId, twin: RunId) -> bool:
    """Whether a run has a checkpoint of its own, so that it is to go on; those of `take_over` are the other run's."""
    return any((run.directory / name).is_file() and not _same(run, twin, name) for name in _CHECKPOINTS)


def take_over(twin: RunId, run: RunId, config: dict) -> None:
    """Make a run finished by another one's record, checkpoints and samples.

    The record keeps all figures, and the git revision, device and time of the training they are from; `trained_as` names it.
    The checkpoints are the same files under a second name where the file system can do that, else copies.

    Args:
        twin: The finished run.
        run: The run that becomes finished.
        config: Its resolved configuration.
    """
    record = json.loads(twin.results_file.read_text(encoding="utf-8"))
    save_configuration(run, config)
    for name in _CHECKPOINTS:
        source, target = twin.directory / name, run.directory / name
        if source.is_file() and not _same(run, twin, name):
            unfinished = target.with_name(f".{name}.{os.getpid()}")
            try:
                os.link(source, unfinished)
            except OSError:
                shutil.copy2(source, unfinished)
            os.replace(unfinished, target)
    if (twin.directory / "samples").is_dir():
        shutil.copytree(twin.directory / "samples", run.directory / "samples", dirs_exist_ok=True)
    # Last, because it is what makes the run finished.
    named = {"run": run.names, "config": config, "trained_as": {"table": twin.table, "cell": twin.cell}}
    write_json(run.results_file, record | named)


def _same(run: RunId, twin: RunId, name: str) -> bool:
    """Whether a file is the other run's, or a copy that `take_over` made of it."""
    try:
        one, other = (os.stat(directory / name) for directory in (run.directory, twin.directory))
    except FileNotFoundError:
        return False
    return os.path.samestat(one, other) or (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
