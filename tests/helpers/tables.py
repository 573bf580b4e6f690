"""A small ablation table, records of its runs, and rows of rendered tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refinenet_pl.ablation.table import Table
from refinenet_pl.tracking.identity import RunId

TABLE = """\
title: A title
source: CVPR 2017, Table 2
claim: A claim.
reference: paper
cells:
  paper: {label: the paper}
  shallow: {label: shallow, network: {cascade: 1}}
  middle: {label: middle, network: {cascade: 2}}
published:
  nyudv2: {paper: 42.5}
"""


def record(table: Table, cell: str, seed: int, root: Path, miou: float | None, recipe="scenes", **changes: Any) -> None:
    """Write the results.json of a run; `changes` are values by path, with `__` between keys."""
    run = RunId(recipe, table.name, cell, seed, str(root))
    config: dict[str, Any] = {
        "seed_everything": seed,
        "run": {"cell": cell, "table": table.name},
        "model": {"network": {"init_args": {"width": 256}}},
        "data": {"seed": seed},
        "trainer": {"default_root_dir": str(run.directory), "logger": [{"init_args": {"name": run.name}}]},
    }
    for setting, value in (table.recipe_settings(recipe) | table.cell_settings(cell)).items():
        _set(config, setting.key.split("."), value)
    content = {
        "format": 1,
        "run": run.names,
        "evaluations": {"val": {"miou": miou}, "test": {"miou": (miou or 0) / 2}},
        "training": {"epochs": 2, "steps": 4, "seconds": 60.0},
        "network": {"parameters": 1_234_567},
        "config": config,
        "git": {"revision": "0123456789abcdef", "dirty": False},
        "versions": {"torch": "2.11.0"},
        "device": "CPU, 2 threads",
        "world_size": 1,
    }
    for key, value in changes.items():
        _set(content, key.split("__"), value)
    run.directory.mkdir(parents=True, exist_ok=True)
    run.results_file.write_text(json.dumps(content))


def records(
    table: Table, root: Path, recipe="scenes", changes: dict[str, Any] | None = None, **scores: Sequence[float]
) -> None:
    """Write the records of several cells: the mIoU of each seed by cell."""
    for cell, values in scores.items():
        for seed, miou in enumerate(values):
            record(table, cell, seed, root, miou, recipe, **changes or {})


def depth_records(table: Table, root: Path, recipe="scenes_depth", **scores: Sequence[float]) -> None:
    """Write records of depth networks: AbsRel of each seed by cell; RMSE is 10 times and the share delta1 1 minus that."""
    for cell, values in scores.items():
        for seed, value in enumerate(values):
            curve = [{"epoch": epoch, "step": 2 * epoch, "abs_rel": 2 / epoch * value} for epoch in (1, 2)]
            val = {"abs_rel": value, "rmse": 10 * value, "delta1": 1 - value, "silog": None}
            record(table, cell, seed, root, None, recipe, evaluations={"val": val}, curve=curve)


def rows(markdown: str) -> list[list[str]]:
    """Header and rows of a Markdown table."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[field.strip() for field in line.split("|")[1:-1]] for line in lines]


def _set(content: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        content = content.setdefault(key, {})
    content[path[-1]] = value
