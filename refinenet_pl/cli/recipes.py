"""Resolution of names on the command line: `-c RECIPE` and `--run.table TABLE --run.cell CELL`."""

import argparse
import ast
import json
from pathlib import Path

from refinenet_pl.ablation.plan import cell_options
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import TABLES, find_recipe, find_table, names
from refinenet_pl.cli.early_options import key_of
from refinenet_pl.cli.init_network import init_network_options
from refinenet_pl.errors import CatalogError
from refinenet_pl.tracking.auto_cell import AUTO


def expand(arguments: list[str]) -> list[str]:
    """Replace names of recipes and cells with arguments that LightningCLI accepts.

    Recipes come first, then the network of `--init_network`, the cell, and all other options. Later arguments override earlier
    ones. None in values of options, as W&B writes it, becomes null.

    Args:
        arguments: A command and its options.

    Returns:
        The command, a `--config FILE` for each recipe and its bases, the recipe's name as `--run.recipe`, the options of the
        cell if `--run.table` is a packaged table or a YAML file, and all other options.

    Raises:
        CatalogError: A recipe or table does not exist, a recipe is its own base, or the cell is `auto`, which no table has.
        CheckpointError: The network of `--init_network` cannot be read.
        TableError: The table is invalid, or the cell does not exist.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=f"refinenet {arguments[0]}")
    parser.add_argument("-c", "--config", action="append", default=[])
    parser.add_argument("--run.table", dest="table")
    parser.add_argument("--run.cell", dest="cell")
    given, others = parser.parse_known_args(arguments[1:])
    recipes = [find_recipe(name) for name in given.config]
    options = [f"--run.recipe={recipes[-1].stem}"] if recipes else []
    for recipe in recipes:
        for file in with_bases(recipe):
            options += ["--config", str(file)]
    options += init_network_options([arguments[0], *options, *others])
    table, cell = given.table, given.cell
    if is_table(table):
        read = read_table(find_table(table))
        if cell is None:
            raise CatalogError(f"--run.table {table} requires --run.cell; use one of {', '.join(read.cells)}")
        if cell == AUTO and AUTO not in read.cells:
            raise CatalogError(
                f"--run.cell {AUTO} names runs outside of tables, but --run.table {table} is one; use one of its cells "
                f"({', '.join(read.cells)}), or any other name as --run.table"
            )
        table = read.name
        options += cell_options(read, cell, recipes[-1].stem if recipes else "")
    options += [f"--run.{name}={value}" for name, value in (("table", table), ("cell", cell)) if value is not None]
    return [arguments[0], *options, *map(_with_null, others)]


def is_table(name: str | None) -> bool:
    """Test if a value of `--run.table` is a packaged table or a YAML file, and not a free name."""
    return name is not None and (name in names(TABLES) or name.endswith((".yaml", ".yml")))


def _with_null(argument: str) -> str:
    """Write null for None in an option's value, because agents of W&B sweeps write values as Python does."""
    option, _, value = argument.partition("=")
    if not option.startswith("--") or "None" not in value:
        return argument
    try:
        return f"{option}={json.dumps(ast.literal_eval(value))}"
    except (SyntaxError, TypeError, ValueError):  # not a value of Python
        return argument


def with_bases(recipe: Path) -> list[Path]:
    """Recipe with all its bases, base first.

    Args:
        recipe: A YAML file. Its key `base` is the name of a packaged recipe, or a YAML file relative to the recipe.

    Raises:
        CatalogError: A base does not exist, or a recipe is its own base.
    """
    chain = [recipe]
    while (base := key_of(chain[0], "base")) is not None:
        file = chain[0].parent / base if base.endswith((".yaml", ".yml")) else find_recipe(base)
        if not file.is_file():
            raise CatalogError(f"{chain[0]}: base {file} is not a file; correct the key base")
        if file.resolve() in [known.resolve() for known in chain]:
            raise CatalogError(f"{file}: is its own base, through {chain[0]}; remove one of the keys base")
        chain.insert(0, file)
    return chain
