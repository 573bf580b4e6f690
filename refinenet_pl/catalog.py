"""Recipes and tables by name: those that come with the package, and files of one's own."""

from pathlib import Path

from refinenet_pl.errors import CatalogError

_PACKAGE = Path(__file__).resolve().parent


def _folder(kind: str) -> Path:
    """Folder of the package in an installation; in a checkout, that of `experiments/`."""
    installed = _PACKAGE / kind
    return installed if installed.is_dir() else _PACKAGE.parent / "experiments" / kind


RECIPES = _folder("recipes")
TABLES = _folder("tables")


def find_recipe(name: str) -> Path:
    """Path of a recipe; see `names` for what comes with the package.

    Args:
        name: Name of a recipe of the package, or path of a YAML file.

    Raises:
        CatalogError: There is no such file.
    """
    return _find(name, RECIPES, "recipe")


def find_table(name: str) -> Path:
    """Path of a table, in the same way."""
    return _find(name, TABLES, "table")


def names(folder: Path) -> list[str]:
    """Names in `RECIPES` or `TABLES`; a name that begins with `_` is a base of others."""
    return sorted(path.stem for path in folder.glob("[!_]*.yaml"))


def _find(name: str, folder: Path, kind: str) -> Path:
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        raise CatalogError(f"no {kind} {name!r} ({path} is no file); there are: {', '.join(names(folder))}")
    return path
