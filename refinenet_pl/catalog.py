"""Lookup of recipes and tables, by the name of a packaged file or the path of any other."""

from pathlib import Path

from refinenet_pl.errors import CatalogError

_PACKAGE = Path(__file__).resolve().parent


def _folder(kind: str) -> Path:
    """Folder inside the installed package; in a checkout, the folder in `experiments/`."""
    installed = _PACKAGE / kind
    return installed if installed.is_dir() else _PACKAGE.parent / "experiments" / kind


RECIPES = _folder("recipes")
TABLES = _folder("tables")


def find_recipe(name: str) -> Path:
    """Path of a recipe.

    Args:
        name: Name of a packaged recipe, or path of a YAML file.

    Raises:
        CatalogError: The file does not exist.
    """
    return _find(name, RECIPES, "recipe")


def find_table(name: str) -> Path:
    """Path of a table.

    Args:
        name: Name of a packaged table, or path of a YAML file.

    Raises:
        CatalogError: The file does not exist.
    """
    return _find(name, TABLES, "table")


def names(folder: Path) -> list[str]:
    """Sorted names in `RECIPES` or `TABLES`, without bases of other files, which begin with `_`."""
    return sorted(path.stem for path in folder.glob("[!_]*.yaml"))


def _find(name: str, folder: Path, kind: str) -> Path:
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        raise CatalogError(f"no {kind} {name!r} ({path} is not a file); use one of: {', '.join(names(folder))}")
    return path
