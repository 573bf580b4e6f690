"""Reader of table files."""

import re
from collections.abc import Collection, Hashable
from pathlib import Path
from typing import Any, NoReturn, get_args

import yaml

from refinenet_pl.ablation.table import NETWORK, TASK, Cell, Claim, Expectation, Family, Table, TableError
from refinenet_pl.metrics.registry import SCORES

# Names are used as directories and in shell commands.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RECIPE_KEY = re.compile(r"(trainer|model|data)(\.[A-Za-z_]\w*)+")
_REQUIRED = {"title", "source", "claim", "reference", "cells"}
_OPTIONAL = {"settings", "published", "multi_scale", "published_multi_scale", "claims"}


def read_table(path: str | Path) -> Table:
    """Read and validate a table file.

    Raises:
        TableError: A key is missing, unknown or repeated, or a value is invalid.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        raise TableError(f"{path}: {error}") from error
    return _Reader(path).table(content)


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys; by default, YAML keeps the last without a warning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        # Keys that `<<` merges may be overridden, so they are not duplicates.
        key_nodes = [key_node for key_node, _ in node.value if key_node.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key_node, deep=True) for key_node in key_nodes]
        for key, key_node in zip(keys, key_nodes, strict=True):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
        return super().construct_mapping(node, deep)


class _Reader:
    """Parser of one file; its error messages name the file and the key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, key: str, problem: str) -> NoReturn:
        raise TableError(f"{self.path}: {key}: {problem}")

    def mapping(self, value: Any, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(key, f"must be a mapping, not {value!r}")
        for name in value:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                self.fail(
                    key, f"{name!r} is not a name; use letters, digits, '_', '.' and '-' (YAML parses off, no and 1 as values)"
                )
        return value

    def known(self, value: Any, key: str, allowed: Collection[str]) -> dict[str, Any]:
        for name in self.mapping(value, key):
            if name not in allowed:
                self.fail(f"{key}.{name}" if key else name, f"unknown key; use one of {', '.join(sorted(allowed))}")
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
            file=self.path,
            name=self.path.stem,
            **{key: self.text(content[key], key) for key in ("title", "source", "claim", "reference")},
            cells={name: self.cell(name, value) for name, value in self.mapping(content["cells"], "cells").items()},
            settings={
                recipe: self.known(value, f"settings.{recipe}", NETWORK)
                for recipe, value in self.mapping(content.get("settings", {}), "settings").items()
            },
            published=self.published("published", content.get("published", {})),
            multi_scale=self.scales(content.get("multi_scale", [])),
            published_multi_scale=self.published("published_multi_scale", content.get("published_multi_scale", {})),
            claims=self.claims(content.get("claims", [])),
        )
        self.consistent(table)
        return table

    def cell(self, name: str, value: Any) -> Cell:
        key = f"cells.{name}"
        self.known(value, key, ("label", "network", "task", "recipe", "network_class"))
        network_class = value.get("network_class")
        if network_class is not None and "network" in value:
            self.fail(f"{key}.network", "contains arguments of RefineNet, which network_class replaces; remove one of the two")
        return Cell(
            name,
            self.text(value.get("label"), f"{key}.label"),
            self.known(value.get("network", {}), f"{key}.network", NETWORK),
            self.known(value.get("task", {}), f"{key}.task", TASK),
            self.recipe(value.get("recipe", {}), f"{key}.recipe"),
            None if network_class is None else self.text(network_class, f"{key}.network_class"),
        )

    def recipe(self, value: Any, key: str) -> dict[str, Any]:
        for name in self.mapping(value, key):
            if not _RECIPE_KEY.fullmatch(name):
                self.fail(f"{key}.{name}", "must be a key of trainer, model or data, such as data.crop_size")
        return value

    def published(self, key: str, value: Any) -> dict[str, dict[str, float]]:
        for recipe, figures in self.mapping(value, key).items():
            for cell, figure in self.mapping(figures, f"{key}.{recipe}").items():
                if isinstance(figure, bool) or not isinstance(figure, (int, float)) or not 1 < figure < 100:
                    self.fail(f"{key}.{recipe}.{cell}", f"must be an mIoU in percent, not {figure!r}")
        return value

    def scales(self, value: Any) -> list[float]:
        if not isinstance(value, list) or len(value) == 1 or not all(isinstance(scale, float) and scale > 0 for scale in value):
            self.fail("multi_scale", f"must be a list of two or more scales such as [0.8, 1.0], not {value!r}")
        return value

    def claims(self, value: Any) -> list[Claim]:
        if not isinstance(value, list):
            self.fail("claims", f"must be a list, not {value!r}")
        claims = []
        for number, entry in enumerate(value):
            key = f"claims.{number}"
            self.known(entry, key, ("claim", "effect", "expects", "score", "minus", "paper", "family"))
            for name, allowed in (
                ("expects", get_args(Expectation)),
                ("family", get_args(Family)),
                ("score", SCORES),
                ("minus", SCORES),
            ):
                if (name in entry or name == "expects") and entry.get(name) not in allowed:
                    self.fail(f"{key}.{name}", f"must be one of {', '.join(allowed)}, not {entry.get(name)!r}")
            if "minus" in entry:
                self.comparable(entry.get("score"), entry["minus"], f"{key}.minus")
            paper = self.mapping(entry.get("paper", {}), f"{key}.paper")
            checked = {
                "claim": self.text(entry.get("claim"), f"{key}.claim"),
                "effect": self.weights(entry.get("effect"), f"{key}.effect"),
                "paper": {recipe: self.weights(weights, f"{key}.paper.{recipe}") for recipe, weights in paper.items()},
            }
            claims.append(Claim(**entry | checked, table=self.path.stem))
        return claims

    def comparable(self, name: str | None, minus: str, key: str) -> None:
        if name is None:
            self.fail(key, "requires score, the name of the score to subtract from")
        score, other = SCORES[name], SCORES[minus]
        if (score.unit, score.higher_is_better) != (other.unit, other.higher_is_better):
            alike = [s.name for s in SCORES.values() if (s.unit, s.higher_is_better) == (score.unit, score.higher_is_better)]
            self.fail(key, f"must have the unit and direction of {name}: use one of {', '.join(alike)}, not {minus!r}")

    def weights(self, value: Any, key: str) -> dict[str, float]:
        for cell, weight in self.mapping(value, key).items():
            if isinstance(weight, bool) or not isinstance(weight, (int, float)):
                self.fail(f"{key}.{cell}", f"must be a number, not {weight!r}")
        if not value or abs(sum(value.values())) > 1e-9:
            self.fail(key, "weights must sum to 0, because an effect is a difference")
        return value

    def consistent(self, table: Table) -> None:
        if not table.cells:
            self.fail("cells", "is empty")
        if table.reference not in table.cells:
            self.fail("reference", f"no cell {table.reference!r}; use one of {', '.join(table.cells)}")
        varied = {setting.argument for setting in table.varied}
        keys = {setting.key: setting.argument for setting in table.varied}
        seen: dict[str, str] = {}
        for name, cell in table.cells.items():
            for setting in table.cell_settings(name):
                if not setting.has_paper_value and setting.argument not in cell.network | cell.task | cell.recipe:
                    self.fail(
                        f"cells.{name}",
                        f"{setting.argument} is missing; the paper has no value for it, so all cells must set it",
                    )
            for key in sorted(set(keys) & set(cell.recipe)):
                self.fail(f"cells.{name}.recipe.{key}", f"other cells vary this as {keys[key]}; use that name")
            settings = {setting.key: _canonical(value) for setting, value in table.cell_settings(name).items()}
            values = repr([cell.network_class, sorted(settings.items())])
            if values in seen:
                self.fail(f"cells.{name}", f"same network and training as the cell {seen[values]}; remove one of the two")
            seen[values] = name
        for recipe, arguments in table.settings.items():
            for argument in sorted(varied & set(arguments)):
                self.fail(f"settings.{recipe}.{argument}", "the cells vary this argument; set it in the cells")
        if table.published_multi_scale and not table.multi_scale:
            self.fail("published_multi_scale", "requires multi_scale")
        by_cell = {
            f"{key}.{recipe}": figures
            for key in ("published", "published_multi_scale")
            for recipe, figures in getattr(table, key).items()
        }
        for number, claim in enumerate(table.claims):
            by_cell[f"claims.{number}.effect"] = claim.effect
            by_cell |= {f"claims.{number}.paper.{recipe}": weights for recipe, weights in claim.paper.items()}
        for key, figures in by_cell.items():
            for name in figures:
                if name not in table.cells:
                    self.fail(f"{key}.{name}", f"no such cell; use one of {', '.join(table.cells)}")


def _canonical(value: Any) -> Any:
    """Convert integers to floats, so that 1 and 1.0 compare equal but True and 1 do not."""
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
