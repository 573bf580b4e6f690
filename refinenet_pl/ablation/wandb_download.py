"""Runs of several machines, downloaded from W&B's server into one directory, where tables and pages find them."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refinenet_pl.ablation.logs import log_file, note_end
from refinenet_pl.files import replaced
from refinenet_pl.tracking.identity import RunId

# What a training leaves in its directory and a downloaded run does not.
_TRAINED_HERE = ("lock", "last.ckpt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SAMPLE = re.compile(r"samples/[^/]+")
_FAILED = ("failed", "crashed", "killed")


class DownloadError(Exception):
    """The server does not answer, or has no such project; the message says what to do."""


def download(project: str, directory: Path) -> Iterator[str]:
    """Copy results.json and sample pictures of a project's runs.

    A run with results takes the place of what was downloaded before; one that was trained in that directory stays as it is. Of
    several with the same name the one that was started last counts. Runs that failed are noted, so that tables show them.

    Args:
        project: ENTITY/PROJECT.
        directory: Where to; it gets TABLE@RECIPE/CELL/seedN as a directory of runs has.

    Yields:
        A sentence on each run that is not simply copied, and one on all.

    Raises:
        DownloadError: See there.
        OSError: The directory cannot be written; the error names the file.
    """
    import wandb  # takes seconds that other commands need not wait for

    copied: dict[RunId, int] = {}
    try:
        for found in wandb.Api().runs(project, order="+created_at"):
            run = _run(found.config, directory)
            if run is None:
                yield f"{found.name}: not a run of this repository, left out"
            elif any((run.directory / name).exists() for name in _TRAINED_HERE):
                yield f"{run.group} {run.name}: was trained in {directory}, stays as it is"
            else:
                names = [file.name for file in found.files()]
                is_training = found.job_type == "train"
                if "results.json" in names:
                    if _copy(found, names, run):
                        copied[run] = copied.get(run, 0) + is_training
                    else:
                        yield f"{run.group} {run.name}: its results.json cannot be read, left out"
                elif is_training and found.state in _FAILED and not run.results_file.exists():
                    _note_failure(run, found.state)
                elif is_training:
                    yield f"{run.group} {run.name}: {found.state}, no results yet"
    except Exception as error:  # W&B's client has many kinds, not all of them its own
        if isinstance(error, OSError) and error.filename:  # not the server, but the directory
            raise
        cure = "write it as ENTITY/PROJECT, and log in (wandb login) or set WANDB_API_KEY"
        raise DownloadError(f"W&B's project {project}: {error}; {cure}") from error
    for run, times in copied.items():
        if times > 1:
            yield f"{run.group} {run.name}: trained {times} times, the last one is taken"
    yield f"downloaded from {project}: {len(copied)} runs, into {directory}"


def _run(config: dict[str, Any], directory: Path) -> RunId | None:
    """Which run a W&B run is, told by its config."""
    names = {key: config.get(key) for key in ("recipe", "table", "cell")}
    seed = config.get("seed")
    # They become directories here.
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names.values()) or not isinstance(seed, int):
        return None
    return RunId(**names, seed=seed, root=str(directory))


def _copy(found: Any, names: list[str], run: RunId) -> bool:
    """Copy a run's files; not one of them where its results.json is damaged."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            if name == "results.json" or _SAMPLE.fullmatch(name):
                found.file(name).download(root=folder, replace=True).close()
        try:
            json.loads(Path(folder, "results.json").read_text())
        except ValueError:
            return False
        for path in sorted(Path(folder).rglob("*.*")):
            with replaced(run.directory / path.relative_to(folder)) as stream:
                stream.write(path.read_bytes())
    log_file(run).unlink(missing_ok=True)
    return True


def _note_failure(run: RunId, state: str) -> None:
    run.directory.mkdir(parents=True, exist_ok=True)
    log_file(run).write_text(f"W&B: {state}\n")
    note_end(run, 1)
