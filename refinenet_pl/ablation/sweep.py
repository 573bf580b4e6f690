"""A table as a W&B sweep: a grid over its cells and seeds, each run started by the agent through torchrun."""

from pathlib import Path

import yaml

from refinenet_pl.ablation.plan import common_arguments
from refinenet_pl.ablation.tables import Table


def sweep_file(table: Table, recipe: Path, seeds: list[int], cells: list[str] | None, root: str, processes: int) -> str:
    """The YAML file for `wandb sweep`.

    A grid is a full product and most tables are not, so the network's arguments are not in it: `run.cell` names a row of the
    table, which the training command resolves.

    Args:
        table: The table.
        recipe: File of the recipe.
        seeds: Seeds of each cell.
        cells: Names of the cells; None for all.
        root: Directory of all runs.
        processes: Processes of a run on its machine.
    """
    sweep = {
        "name": f"{table.name}@{recipe.stem}",
        "description": table.title,
        "project": "refinenet_pl",
        "program": "refinenet_pl",
        "method": "grid",
        "metric": {"name": "val/miou", "goal": "maximize"},
        "parameters": {
            "run.cell": {"values": [cell.name for cell in table.select(cells)]},
            "seed_everything": {"values": seeds},
        },
        "command": [
            "${env}", "torchrun", "--standalone", "--nproc-per-node", str(processes), "-m", "refinenet_pl",
            *common_arguments(table, recipe, root), "${args}",
        ],
    }  # fmt: skip
    return yaml.safe_dump(sweep, sort_keys=False, width=120)
