"""W&B sweep of a table: a grid over its cells and seeds. The agent launches each run with torchrun."""

from pathlib import Path

import yaml

from refinenet_pl.ablation.plan import common_arguments
from refinenet_pl.ablation.tables import Table
from refinenet_pl.metrics.score import Score


def sweep_file(
    table: Table, recipe: Path, seeds: list[int], cells: list[str] | None, root: str, processes: int, score: Score
) -> str:
    """Generate the YAML configuration for `wandb sweep`.

    Most tables are not a full grid of network arguments, so the grid is over `run.cell`, the name of a row that the training
    command resolves.

    Args:
        table: The table.
        recipe: File of the recipe.
        seeds: Seeds of each cell.
        cells: Names of the cells; None for all.
        root: Directory of all runs.
        processes: Processes per run, all on one machine.
        score: Score of the sweep, the primary one of the recipe.

    Raises:
        TableError: A cell does not exist.
    """
    sweep = {
        "name": f"{table.name}@{recipe.stem}",
        "description": table.title,
        "project": "refinenet_pl",
        "program": "refinenet_pl",
        "method": "grid",
        "metric": {"name": f"val/{score.name}", "goal": "maximize" if score.higher_is_better else "minimize"},
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
