"""A table as a W&B sweep: a grid over its cells and seeds, each run started by the agent through torchrun."""

from pathlib import Path

import yaml

from refinenet_pl.ablation.tables import Table


def sweep_file(
    table: Table, name: str, recipe: str, seeds: list[int], cells: list[str] | None, root: str, processes: int
) -> str:
    """The YAML file for `wandb sweep`.

    A grid is a full product and most tables are not, so the network's arguments are not in it: `cell` names a row of the table,
    and `ablate.py train` knows what that is.

    Args:
        table: The table.
        name: Its name, or its file for a table that is not in experiments/tables.
        recipe: The recipe, as `--on` takes it.
        seeds: Seeds of each cell.
        cells: Names of the cells; None for all.
        root: Directory of all runs.
        processes: Processes of a run on its machine.
    """
    script = ["experiments/ablate.py", "train", name, "--on", recipe, "--root", root, "${args}"]
    sweep = {
        "name": f"{table.name}@{Path(recipe).stem}",
        "description": table.title,
        "project": "refinenet_pl",
        "program": "experiments/ablate.py",
        "method": "grid",
        "metric": {"name": "val/miou", "goal": "maximize"},
        "parameters": {"cell": {"values": [cell.name for cell in table.select(cells)]}, "seed": {"values": seeds}},
        "command": ["${env}", "torchrun", "--standalone", "--nproc-per-node", str(processes), *script],
    }
    return yaml.safe_dump(sweep, sort_keys=False, width=120)
