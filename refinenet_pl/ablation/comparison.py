"""Differences between runs that make them incomparable."""

import functools
import inspect
import json
import re
from collections.abc import Collection
from typing import Any

from lightning import Trainer

from refinenet_pl.ablation.arguments import gives
from refinenet_pl.ablation.table import Table
from refinenet_pl.tracking.configuration import LATER_OPTIONS, flatten
from refinenet_pl.tracking.identity import SIDE_OPTIONS

Records = dict[tuple[str, int], dict[str, Any]]


def wrong_settings(table: Table, recipe: str, records: Records) -> list[str]:
    """Find runs with other settings than the table, because it was edited or overridden on the command line.

    Args:
        table: The table.
        recipe: Name of the recipe.
        records: Records by cell and seed.

    Returns:
        A sentence for each cell and setting.
    """
    found: dict[str, list[int]] = {}
    for (cell, seed), record in records.items():
        for settings, whose in ((table.recipe_settings(recipe), "paper's table"), (table.cell_settings(cell), "table")):
            for setting, value in settings.items():
                known, recorded = setting.recorded(_configuration(record))
                if known and not gives(value, recorded):
                    text = f"ran with {setting.argument} {json.dumps(recorded)}, but the {whose} has {json.dumps(value)}"
                    found.setdefault(f"{cell} {text}", []).append(seed)
        expected, recorded = table.cells[cell].network_class, get(record, "config", "model", "network", "class_path")
        if expected is not None and recorded != expected:
            found.setdefault(f"{cell} ran with the network {recorded}, but the table has {expected}", []).append(seed)
    return [f"{text} (seed {', '.join(map(str, seeds))})" for text, seeds in found.items()]


def differences(table: Table, records: Records) -> list[str]:
    """Find differences between runs other than the cells' settings and the seed.

    Args:
        table: The table.
        records: Records by cell and seed.

    Returns:
        A sentence for each difference.
    """
    varied = {f"config.{setting.key}" for setting in table.varied}
    facts = {run: _facts(record) for run, record in records.items()}
    sentences = []
    for key in sorted({key for known in facts.values() for key in known}):
        if _is_set(key, varied):
            continue
        runs: dict[str, list[str]] = {}
        for (cell, seed), known in facts.items():
            if _is_set(key.removeprefix("config."), table.cells[cell].recipe):
                continue
            if table.cells[cell].network_class is None or not key.startswith("config.model.network."):
                runs.setdefault(json.dumps(known.get(key), sort_keys=True), []).append(f"{cell} seed {seed}")
        if len(runs) > 1:
            commonest = sorted(runs, key=lambda value: -len(runs[value]))
            words = [f"{_shorten(value)} ({_some(runs[value])})" for value in commonest[:3]]
            more = [f"{len(commonest) - 3} more"] if len(commonest) > 3 else []
            sentences.append(f"the runs differ in {key.removeprefix('config.')}: {'; '.join(words + more)}")
    return sentences


def partial_scores(records: Records, evaluation: str) -> list[str]:
    """Name the runs that were scored on part of the split only, because of trainer.limit_val_batches."""
    runs = [
        f"{cell} seed {seed}"
        for (cell, seed), record in records.items()
        if get(record, "evaluations", evaluation, "limit_batches")
    ]
    return [f"only part of the split {evaluation} was scored (limit_val_batches): {_some(runs)}"] if runs else []


def get(record: Any, *keys: str) -> Any:
    """Look up a value in nested mappings; None if a key is missing."""
    for key in keys:
        record = record.get(key) if isinstance(record, dict) else None
    return record


@functools.cache
def trainer_defaults() -> dict[str, Any]:
    """Default arguments of Lightning's Trainer, which kept records omit."""
    return {name: parameter.default for name, parameter in inspect.signature(Trainer).parameters.items()}


def _configuration(record: dict[str, Any]) -> dict[str, Any]:
    """Configuration of a run, with defaults for missing trainer arguments."""
    config = record.get("config") or {}
    return config | {"trainer": trainer_defaults() | config["trainer"]} if "trainer" in config else config


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    """Facts that must be equal in all compared runs, by dotted key."""
    facts = {
        "git revision": get(record, "git", "revision"),
        "uncommitted changes": get(record, "git", "dirty"),
        "device": record.get("device"),
        "world size": record.get("world_size"),
    }
    facts |= {f"version of {name}": version for name, version in (record.get("versions") or {}).items()}
    run = record["run"]
    # Paths and names of loggers and checkpoints contain the run's own directory and name.
    directory = re.compile(rf"\S*{re.escape(run['table'] + '@' + run['recipe'])}/{re.escape(run['cell'])}/seed{run['seed']}\b")
    name = f"{run['cell']}-seed{run['seed']}"

    # Runs of earlier versions have `reuse`, which does not affect training.
    left_out = ("run", "seed_everything", "ckpt_path", "reuse", *SIDE_OPTIONS)
    config = {key: value for key, value in _configuration(record).items() if key not in left_out}
    for key, value in flatten({"config": LATER_OPTIONS | flatten(config)}).items():
        if key.endswith(".seed") and value == run["seed"]:
            continue  # a copy of the run's seed
        facts[key] = directory.sub("<directory>", value).replace(name, "<name>") if isinstance(value, str) else value
    return facts


def _is_set(key: str, settings: Collection[str]) -> bool:
    """Test if a dotted key is one of the settings, or a part of one that has a class path and arguments."""
    parts = key.split(".")
    return any(".".join(parts[:length]) in settings for length in range(1, len(parts) + 1))


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(runs: list[str]) -> str:
    return ", ".join(runs) if len(runs) <= 2 else f"{len(runs)} runs"
