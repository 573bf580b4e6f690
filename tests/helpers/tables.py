"""A small ablation table, and records of its runs."""

import json

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


def record(table, cell, seed, root, miou, recipe="scenes", seconds=60.0, **changes):
    """Write a results.json as a run of the table would."""
    run = RunId(recipe, table.name, cell, seed, str(root))
    config = {
        "seed_everything": seed,
        "run": {"cell": cell, "table": table.name},
        "model": {"network": {"init_args": {"width": 256}}},
        "data": {"seed": seed},
        "trainer": {"default_root_dir": str(run.directory), "logger": [{"init_args": {"name": run.name}}]},
    }
    for setting, value in (table.recipe_settings(recipe) | table.cell_settings(cell)).items():
        *path, last = setting.key.split(".")
        place = config
        for key in path:
            place = place.setdefault(key, {})
        place[last] = list(value) if isinstance(value, tuple) else value
    content = {
        "format": 1,
        "run": {"recipe": recipe, "table": table.name, "cell": cell, "seed": seed},
        "evaluations": {"val": {"miou": miou}, "test": {"miou": (miou or 0) / 2}},
        "training": {"epochs": 2, "steps": 4, "seconds": seconds},
        "network": {"parameters": 1_234_567},
        "config": config,
        "git": {"revision": "0123456789abcdef", "dirty": False},
        "versions": {"torch": "2.11.0"},
        "device": "CPU, 2 threads",
        "world_size": 1,
    }
    for key, value in changes.items():
        place = content
        *path, last = key.split("__")
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    run.directory.mkdir(parents=True, exist_ok=True)
    run.results_file.write_text(json.dumps(content))
