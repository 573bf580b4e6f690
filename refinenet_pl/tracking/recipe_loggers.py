"""Loggers that a recipe gives: their defaults for a run, and what they show of it."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from refinenet_pl.extras import require
from refinenet_pl.files import expand_path
from refinenet_pl.imports import import_class
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.tracking.mlflow import MlflowTracker
from refinenet_pl.tracking.other_loggers import OtherTracker
from refinenet_pl.tracking.tensorboard import TensorBoardTracker

# Default name of Lightning's loggers.
_UNNAMED = "lightning_logs"


def entries(given: Any) -> list[MutableMapping[str, Any]]:
    """Loggers of the option `trainer.logger` before they are instantiated: mappings with `class_path` and `init_args`."""
    if given is None or isinstance(given, bool):
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def has_wandb(given: Any) -> bool:
    """Test if the option `trainer.logger` has a W&B logger."""
    return any(_is(entry, WandbLogger) for entry in entries(given))


def prepare(given: Any, run: RunId, checkpoint: Path | None) -> None:
    """Name the records of a recipe's loggers after the run, unless the recipe names them, so that all cells can share it.

    Args:
        given: The option `trainer.logger` before it is instantiated, which is changed.
        run: The run.
        checkpoint: Checkpoint that the run resumes from; None if it starts.

    Raises:
        MissingPackageError: A package of a logger is not installed.
    """
    for entry in entries(given):
        options = entry.get("init_args") or {}
        name = entry["class_path"].rpartition(".")[2]
        if _is(entry, TensorBoardLogger):
            require("tensorboard", "tensorboard", f"trainer.logger {name}")
            if options.get("name") == _UNNAMED and options.get("version") is None:
                options["name"], options["version"] = f"{run.group}/{run.cell}", f"seed{run.seed}"
            if checkpoint is not None and "purge_step" in options:  # TensorBoard forgets the values of repeated steps
                options["purge_step"] = _steps(checkpoint)
        elif _is(entry, CSVLogger):
            if options.get("name") == _UNNAMED:
                options["name"] = str(run.directory.relative_to(expand_path(run.root)))
        elif _is(entry, WandbLogger):
            options["name"] = options.get("name") or run.name
        elif _is(entry, MLFlowLogger):
            require("mlflow", "mlflow", f"trainer.logger {name}")
            _prepare_mlflow(options, run)


def build(given: Any) -> list[Logger]:
    """Instantiate the loggers of the option `trainer.logger`."""
    pairs = [(import_class(entry["class_path"], "trainer.logger"), entry.get("init_args")) for entry in entries(given)]
    return [kind(**(vars(options) if options else {})) for kind, options in pairs]


def adopt(given: Any, run: RunId, config: dict[str, Any], training: bool) -> list[Logger]:
    """Make a recipe's loggers show the run.

    Args:
        given: The option `trainer.logger` after it is instantiated.
        run: The run.
        config: Its resolved configuration.
        training: The command is `fit`.

    Returns:
        The loggers, which have trackers now.
    """
    loggers: list[Logger] = entries(given)  # type: ignore[assignment]  # instantiated
    for logger in loggers:
        kinds = {TensorBoardLogger: TensorBoardTracker, MLFlowLogger: MlflowTracker, Logger: OtherTracker}
        kind = next(tracker for base, tracker in kinds.items() if isinstance(logger, base))
        kind(logger, run, config, training)
    return loggers


def _prepare_mlflow(options: MutableMapping[str, Any], run: RunId) -> None:
    if options.get("experiment_name") == _UNNAMED:
        options["experiment_name"] = run.group
    options["run_name"] = options.get("run_name") or run.name
    options["tags"] = {**{name: str(value) for name, value in run.names.items()}, **(options.get("tags") or {})}
    if options.get("tracking_uri") is None and options.get("save_dir") == "./mlruns":  # MLflow no longer writes such folders
        root = expand_path(run.root).absolute()
        root.mkdir(parents=True, exist_ok=True)
        options["tracking_uri"] = f"sqlite:///{root / 'mlflow.db'}"
        options["artifact_location"] = options.get("artifact_location") or (root / "mlflow" / run.group).as_uri()
    if (options.get("tracking_uri") or "").startswith("sqlite:"):
        require("sqlalchemy", "mlflow", "trainer.logger.init_args.tracking_uri sqlite:")
        require("alembic", "mlflow", "trainer.logger.init_args.tracking_uri sqlite:")


def _is(entry: MutableMapping[str, Any], kind: type) -> bool:
    found = import_class(entry["class_path"], "trainer.logger")
    return isinstance(found, type) and issubclass(found, kind)


def _steps(checkpoint: Path) -> int | None:
    """Number of steps of a checkpoint; None for a damaged one, in whose place the run resumes from an earlier one."""
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception:  # torch raises almost any error on damaged bytes
        return None
