"""Sharing of one training among all table cells with equal configurations."""

import contextlib
import json
import os
import shutil
from typing import Any

from refinenet_pl.files import expand_path, write_json
from refinenet_pl.tracking.configuration import differences, save_configuration
from refinenet_pl.tracking.identity import BEST, LAST, RunId

_NAMES = {"run.table", "run.cell"}


def find_same_training(run: RunId, config: dict[str, Any]) -> RunId | None:
    """Find a finished run with the same root, recipe, seed and configuration as a new run.

    Args:
        run: The new run.
        config: Its resolved configuration.

    Returns:
        The first by name of those runs that were trained themselves; None if there is none, or if the new run has started.
    """
    for file in sorted(expand_path(run.root).glob(f"*@{run.recipe}/*/seed{run.seed}/results.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not a record
            record = json.loads(file.read_text(encoding="utf-8"))
            other = RunId(**record["run"], root=run.root)
            # A run may resume with its data at another root; for another run, that root may hold other data.
            same_data = record["config"]["data"]["root"] == config["data"]["root"]
            same = same_data and not differences(record["config"], config).keys() - _NAMES
            moved = other.directory.resolve() != file.parent.resolve()
            if same and not moved and "trained_as" not in record:
                return None if _has_started(run, other) else other
    return None


def share(trained: RunId, run: RunId, config: dict[str, Any]) -> dict[str, Any]:
    """Finish a run with the record, checkpoints and samples of the same training.

    The record keeps all scores, and the git revision, device and time of the training; `trained_as` names it. Checkpoints are
    hard links, or copies if the file system has none.

    Args:
        trained: The finished run.
        run: The run to finish.
        config: Its resolved configuration.

    Returns:
        The record of the run.
    """
    record = json.loads(trained.results_file.read_text(encoding="utf-8"))
    save_configuration(run, config)
    for name in (BEST, LAST):
        source, target = trained.directory / name, run.directory / name
        if source.is_file() and not _same_file(run, trained, name):
            unfinished = target.with_name(f".{name}.{os.getpid()}")
            try:
                os.link(source, unfinished)
            except OSError:
                shutil.copy2(source, unfinished)
            os.replace(unfinished, target)
    if (trained.directory / "samples").is_dir():
        shutil.copytree(trained.directory / "samples", run.directory / "samples", dirs_exist_ok=True)
    # Last, because a run with a record is finished.
    record |= {"run": run.names, "config": config, "trained_as": {"table": trained.table, "cell": trained.cell}}
    write_json(run.results_file, record)
    return record


def _has_started(run: RunId, other: RunId) -> bool:
    """Test if a run has its own checkpoint; one that an interrupted `share` left is the other run's."""
    return any((run.directory / name).is_file() and not _same_file(run, other, name) for name in (BEST, LAST))


def _same_file(run: RunId, other: RunId, name: str) -> bool:
    try:
        one, two = (os.stat(directory / name) for directory in (run.directory, other.directory))
    except FileNotFoundError:
        return False
    return os.path.samestat(one, two) or (one.st_size, one.st_mtime_ns) == (two.st_size, two.st_mtime_ns)
