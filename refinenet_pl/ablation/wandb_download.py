"""Download of runs from W&B into a directory, for tables and reports of runs on several machines."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refinenet_pl.ablation.logs import log_file, note_end
from refinenet_pl.files import replaced
from refinenet_pl.tracking.identity import RunId

# Files that only runs trained in the directory have.
_TRAINED_HERE = ("lock", "last.ckpt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SAMPLE = re.compile(r"samples/[^/]+")
_FAILED = ("failed", "crashed", "killed")


class DownloadError(Exception):
    """The server does not respond, or the project does not exist; the message contains the fix."""


def download(project: str, directory: Path) -> Iterator[str]:
    """Download results.json and the sample images of a project's runs.

    A run with results replaces an earlier download. Runs that were trained in the directory are not changed. Of several runs
    with the same name, the one that started last counts. Failed runs are marked, so that tables show them.

    Args:
        project: ENTITY/PROJECT.
        directory: Target directory, with the layout TABLE@RECIPE/CELL/seedN of a directory of runs.

    Yields:
        A sentence about each run that is skipped or ambiguous, and a summary.

    Raises:
        DownloadError: The server does not respond, or the project does not exist.
        OSError: The directory cannot be written; the error names the file.
    """
    import wandb  # slow to import and only needed here

    copied: dict[RunId, int] = {}
    try:
        for found in wandb.Api().runs(project, order="+created_at"):
            run = _run(found.config, directory)
            if run is None:
                yield f"{found.name}: not a run of refinenet_pl, skipped"
            elif any((run.directory / name).exists() for name in _TRAINED_HERE):
                yield f"{run.group} {run.name}: was trained in {directory}, not changed"
            else:
                names = [file.name for file in found.files()]
                is_training = found.job_type == "train"
                if "results.json" in names:
                    if _copy(found, names, run):
                        copied[run] = copied.get(run, 0) + is_training
                    else:
                        yield f"{run.group} {run.name}: results.json cannot be read, skipped"
                elif is_training and found.state in _FAILED and not run.results_file.exists():
                    _note_failure(run, found.state)
                elif is_training:
                    yield f"{run.group} {run.name}: {found.state}, no results yet"
    except Exception as error:  # W&B's client raises errors of several libraries
        if isinstance(error, OSError) and error.filename:  # of the directory, not of the server
            raise
        fix = "write it as ENTITY/PROJECT, and log in (wandb login) or set WANDB_API_KEY"
        raise DownloadError(f"W&B project {project}: {error}; {fix}") from error
    for run, times in copied.items():
        if times > 1:
            yield f"{run.group} {run.name}: trained {times} times, using the last run"
    yield f"downloaded {len(copied)} {'run' if len(copied) == 1 else 'runs'} from {project} to {directory}"


def _run(config: dict[str, Any], directory: Path) -> RunId | None:
    """Identify a W&B run by its config; None if it is not a run of refinenet_pl."""
    names = [config.get(key) for key in ("recipe", "table", "cell")]
    # The names become directories.
    valid = [name for name in names if isinstance(name, str) and _NAME.fullmatch(name)]
    seed = config.get("seed")
    if len(valid) < len(names) or not isinstance(seed, int):
        return None
    recipe, table, cell = valid
    return RunId(recipe, table, cell, seed, str(directory))


def _copy(found: Any, names: list[str], run: RunId) -> bool:
    """Copy the files of a run; returns False, without copying any, if its results.json is damaged."""
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
