"""Table files: which cells a table has, what each changes in the paper's network, and what the paper reports for it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from refinenet_pl.ablation.arguments import Setting, network_arguments, recipe_setting, task_arguments

# Cells become directories and words of a shell command.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RECIPE_KEY = re.compile(r"(trainer|model|data)(\.[A-Za-z_]\w*)+")
_REQUIRED = {"title", "source", "claim", "reference", "cells"}
_OPTIONAL = {"settings", "published", "multi_scale", "published_multi_scale"}
_NETWORK = network_arguments()
_TASK = task_arguments()


class TableError(ValueError):
    """A table file that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes:
        name: Short name: a directory, and the word for `--cells`.
        label: The row's heading.
        network: Arguments of the network that differ from the paper's.
        task: Arguments of the training task that differ from the recipe's.
        recipe: Other values of the recipe that differ here, by dotted key as on the command line. Cells without such a key keep
            the recipe's value.
        network_class: Import path of a network that takes RefineNet's place; what it has in common with RefineNet's arguments
            stays as the recipe has it. None for RefineNet.
    """

    name: str
    label: str
    network: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    network_class: str | None = None


@dataclass(frozen=True)
class Table:
    """One ablation table.

    Attributes:
        name: Name of the file without its suffix.
        title: Heading.
        source: Where the paper has it.
        claim: The sentence of the paper that the table tests, in our words.
        reference: Name of the cell that the others are compared with.
        cells: The rows by name, in order.
        settings: For each recipe, network arguments that the paper's table had there in all rows.
        published: For each recipe, the paper's mIoU of some cells, in per cent.
        multi_scale: Test scales of a second column of figures; empty for none.
        published_multi_scale: As `published`, for that column.
    """

    name: str
    title: str
    source: str
    claim: str
    reference: str
    cells: dict[str, Cell]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: dict[str, dict[str, float]] = field(default_factory=dict)
    multi_scale: list[float] = field(default_factory=list)
    published_multi_scale: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def varied(self) -> list[Setting]:
        """What the cells vary. A cell that leaves one of these out has the paper's value."""
        network = {name: _NETWORK[name] for cell in self.cells.values() for name in cell.network}
        task = {name: _TASK[name] for cell in self.cells.values() for name in cell.task}
        return [*network.values(), *task.values()]

    def cell_settings(self, cell: str) -> dict[Setting, Any]:
        """What a cell sets: a value for everything that the table varies.

        The paper's values are spelled out as well, so that a recipe with values of its own cannot change what a row means.
        Another network has none of RefineNet's.
        """
        deltas = self.cells[cell].network | self.cells[cell].task
        varied = [s for s in self.varied if self.cells[cell].network_class is None or s.argument in _TASK]
        settings = {setting: deltas.get(setting.argument, setting.paper) for setting in varied}
        return settings | {recipe_setting(key): value for key, value in self.cells[cell].recipe.items()}

    def recipe_settings(self, recipe: str) -> dict[Setting, Any]:
        """What the paper's table had in all rows on this recipe; empty where the paper has no such table."""
        return {_NETWORK[name]: value for name, value in self.settings.get(recipe, {}).items()}

    def reference_among(self, cells: list[str]) -> str:
        """What rows are compared with where only these cells were run: the reference, or the first of them."""
        return self.reference if self.reference in cells else cells[0]

    def select(self, names: list[str] | None) -> list[Cell]:
        """The cells of these names in the table's order; all for None.

        Raises:
            TableError: There is no cell of that name.
        """
        unknown = sorted(set(names or []) - set(self.cells))
        if unknown:
            raise TableError(f"{self.name} has no cell {', '.join(unknown)}; it has {', '.join(self.cells)}")
        return [cell for cell in self.cells.values() if names is None or cell.name in names]


def read_table(path: str | Path) -> Table:
    """Read and check a table file.

    Raises:
        TableError: Something in it is missing, unknown, repeated or of the wrong kind.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        raise TableError(f"{path}: {error}") from error
    return _Reader(path).table(content)


class _Loader(yaml.SafeLoader):
    """Refuses repeated keys, of which YAML would silently keep the last."""

    def construct_mapping(self, node, deep=False):
        # `<<` has no value of its own; what it brings in may be replaced by a key beside it.
        key_nodes = [key_node for key_node, _ in node.value if key_node.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key_node, deep=True) for key_node in key_nodes]
        for key, key_node in zip(keys, key_nodes, strict=True):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
        return super().construct_mapping(node, deep)


class _Reader:
    """The checks, with the file's name at hand for their messages."""

    def __init__(self, path: Path):
        self.path = path

    def fail(self, key: str, problem: str):
        raise TableError(f"{self.path}: {key}: {problem}")

    def mapping(self, value: Any, key: str) -> dict:
        if not isinstance(value, dict):
            self.fail(key, f"must be a mapping, not {value!r}")
        for name in value:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                self.fail(
                    key, f"{name!r} is no name; letters, digits, '_', '.' and '-' (YAML reads off, no, 1 as other things)"
                )
        return value

    def known(self, value: Any, key: str, allowed) -> dict:
        for name in self.mapping(value, key):
            if name not in allowed:
                self.fail(f"{key}.{name}" if key else name, f"unknown key; known are {', '.join(sorted(allowed))}")
        return value

    def text(self, value: Any, key: str) -> str:
        if not isinstance(value, str) or not value.strip():
            self.fail(key, f"must be text, not {value!r}")
        return " ".join(value.split())

    def table(self, content: Any) -> Table:
        if not isinstance(content, dict):
            raise TableError(f"{self.path}: must be a mapping with the keys {', '.join(sorted(_REQUIRED))}")
        self.known(content, "", _REQUIRED | _OPTIONAL)
        for key in sorted(_REQUIRED - set(content)):
            self.fail(key, "is missing")
        table = Table(
            name=self.path.stem,
            **{key: self.text(content[key], key) for key in ("title", "source", "claim", "reference")},
            cells={name: self.cell(name, value) for name, value in self.mapping(content["cells"], "cells").items()},
            settings={
                recipe: self.known(value, f"settings.{recipe}", _NETWORK)
                for recipe, value in self.mapping(content.get("settings", {}), "settings").items()
            },
            published=self.published("published", content.get("published", {})),
            multi_scale=self.scales(content.get("multi_scale", [])),
            published_multi_scale=self.published("published_multi_scale", content.get("published_multi_scale", {})),
        )
        self.consistent(table)
        return table

    def cell(self, name: str, value: Any) -> Cell:
        key = f"cells.{name}"
        self.known(value, key, ("label", "network", "task", "recipe", "network_class"))
        network_class = value.get("network_class")
        if network_class is not None and "network" in value:
            self.fail(f"{key}.network", "has RefineNet's arguments, but network_class puts another network in its place")
        return Cell(
            name,
            self.text(value.get("label"), f"{key}.label"),
            self.known(value.get("network", {}), f"{key}.network", _NETWORK),
            self.known(value.get("task", {}), f"{key}.task", _TASK),
            self.recipe(value.get("recipe", {}), f"{key}.recipe"),
            None if network_class is None else self.text(network_class, f"{key}.network_class"),
        )

    def recipe(self, value: Any, key: str) -> dict[str, Any]:
        for name in self.mapping(value, key):
            if not _RECIPE_KEY.fullmatch(name):
                self.fail(f"{key}.{name}", "must be a key of a recipe like data.crop_size, below trainer, model or data")
        return value

    def published(self, key: str, value: Any) -> dict[str, dict[str, float]]:
        for recipe, figures in self.mapping(value, key).items():
            for cell, figure in self.mapping(figures, f"{key}.{recipe}").items():
                if isinstance(figure, bool) or not isinstance(figure, (int, float)) or not 1 < figure < 100:
                    self.fail(f"{key}.{recipe}.{cell}", f"must be an mIoU in per cent, not {figure!r}")
        return value

    def scales(self, value: Any) -> list[float]:
        if not isinstance(value, list) or len(value) == 1 or not all(isinstance(scale, float) and scale > 0 for scale in value):
            self.fail("multi_scale", f"must be a list of two or more scales like [0.8, 1.0], not {value!r}")
        return value

    def consistent(self, table: Table):
        if not table.cells:
            self.fail("cells", "is empty")
        if table.reference not in table.cells:
            self.fail("reference", f"no cell is called {table.reference!r}; there are {', '.join(table.cells)}")
        varied = {setting.argument for setting in table.varied}
        keys = {setting.key: setting.argument for setting in table.varied}
        seen: dict[str, str] = {}
        for name, cell in table.cells.items():
            for setting in table.cell_settings(name):
                if not setting.has_paper_value and setting.argument not in cell.network | cell.task | cell.recipe:
                    self.fail(
                        f"cells.{name}", f"{setting.argument} is missing; it has no paper's value, so all cells must have it"
                    )
            for key in sorted(set(keys) & set(cell.recipe)):
                self.fail(f"cells.{name}.recipe.{key}", f"other cells vary this as {keys[key]}; state it like them")
            settings = {setting.key: _canonical(value) for setting, value in table.cell_settings(name).items()}
            values = repr([cell.network_class, sorted(settings.items())])
            if values in seen:
                self.fail(f"cells.{name}", f"is the same network and training as the cell {seen[values]}")
            seen[values] = name
        for recipe, arguments in table.settings.items():
            for argument in sorted(varied & set(arguments)):
                self.fail(f"settings.{recipe}.{argument}", "the cells vary this; state it there")
        if table.published_multi_scale and not table.multi_scale:
            self.fail("published_multi_scale", "is there without multi_scale")
        for key in "published", "published_multi_scale":
            for recipe, figures in getattr(table, key).items():
                for name in figures:
                    if name not in table.cells:
                        self.fail(f"{key}.{recipe}.{name}", f"no cell is called that; there are {', '.join(table.cells)}")


def _canonical(value: Any) -> Any:
    """1 and 1.0 are the same argument; True and 1 are not."""
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
