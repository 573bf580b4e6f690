"""Sections of panels, and columns, for the runs of a table in W&B; its saved view and its report share them.

The names of values and media are those that runs log, see `refinenet_pl.tracking`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from refinenet_pl.ablation.table import Table
from refinenet_pl.extras import require
from refinenet_pl.metrics.confusion import Scores
from refinenet_pl.metrics.score import Score
from refinenet_pl.tracking.wandb import LONGEST

CLASS_CURVES = "val_iou/"
"""Prefix of the IoU of each class in the history and the summary."""

# W&B shows 10 runs, groups or bars by default, and omits the others without a message.
_ALL_RUNS = 200
# Columns and rows of a report's grid, which has 24 columns.
_HALF, _FULL = {"w": 12, "h": 8}, {"w": 24, "h": 12}
# Strings of W&B's filters have no escapes for these characters.
_UNFILTERABLE = re.compile(r"[\"'\\=<>]")
# The network's arguments are `network.*` in W&B's config.
_NETWORK = (("model.network.init_args.", "network."), ("model.network.class_path", "network.class"))


class WorkspaceError(Exception):
    """The view or the report cannot be built or saved; the message contains the fix."""


@dataclass(frozen=True)
class Compared:
    """The runs of one table and recipe, and the names that they log.

    Attributes:
        table: The table.
        recipe: Name of the recipe.
        scores: Scores of the recipe's evaluations, the primary one first.
        classes: Class names of the recipe's dataset, for use before the first run; empty if there are none.
        logged: Names in the summaries of runs; empty before the first run.

    Raises:
        WorkspaceError: The name of the table or the recipe contains a character that W&B cannot filter by.
    """

    table: Table
    recipe: str
    scores: Sequence[Score]
    classes: Sequence[str] = ()
    logged: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for kind, name in ("table", self.table.name), ("recipe", self.recipe):
            if found := _UNFILTERABLE.search(name):
                raise WorkspaceError(f"{kind} {name!r}: W&B cannot filter by a name with {found[0]}; rename the file")

    @property
    def group(self) -> str:
        """Group of the runs in W&B."""
        return f"{self.table.name}@{self.recipe}"[:LONGEST]

    @property
    def best(self) -> str:
        """Key of the best validation score in the summary."""
        return f"val/{self.scores[0].name}_best"

    @property
    def has_classes(self) -> bool:
        """True if evaluations have an IoU of each class and a confusion matrix."""
        return self.scores[0] == Scores.SCORES[0]

    def names(self, prefix: str, expected: Iterable[str] = ()) -> list[str]:
        """Logged names with a prefix, sorted; before the first run, the prefix with each of the expected names."""
        return sorted(name for name in self.logged if name.startswith(prefix)) or [
            f"{prefix}{name}" for name in expected if not self.logged
        ]


def libraries() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Import the modules of wandb-workspaces for views, reports and filters.

    Raises:
        MissingPackageError: wandb-workspaces is not installed.
    """
    require("wandb_workspaces", "wandb", "wandb workspace")
    views, reports, filters = "workspaces", "reports.v2", "expr"
    return tuple(import_module(f"wandb_workspaces.{name}") for name in (views, reports, filters))  # type: ignore[return-value]


def filters(compared: Compared) -> list[Any]:
    """Filters for the trainings of the table and recipe."""
    *_, expr = libraries()
    return [expr.Metric("Group") == compared.group, expr.Metric("JobType") == "train"]


def columns(compared: Compared) -> list[str]:
    """Columns of the table of runs: the best and the last scores, and the options that the cells change."""
    cells = compared.table.cells.values()
    keys = [setting.key for setting in compared.table.varied] + [key for cell in cells for key in cell.recipe]
    if any(cell.network_class for cell in cells):
        keys = ["model.network.class_path", *keys]
    scores = [compared.best, *(f"val/{score.name}" for score in compared.scores)]
    return [*(f"summary:{name}" for name in scores), *dict.fromkeys(map(_config_column, keys))]


def sections(compared: Compared) -> dict[str, list[Any]]:
    """Panels by the title of their section; curves and bars are means over seeds with their standard deviation."""
    found = {
        "Scores": _scores(compared),
        "Images": _images(compared),
        "Classes": _classes(compared) if compared.has_classes else [],
        "Training": [
            _curve("trainer/global_step", "train/loss"),
            _curve("epoch", "val/loss"),
            *_curves(compared, "learning_rate/"),
            *_curves(compared, "gradients/"),
        ],
        "Dead ReLUs": [
            _curve("epoch", name) for name in compared.names("dead_relu/", (f"block_{number}" for number in range(1, 5)))
        ],
        "Speed and memory": [*_curves(compared, "speed/"), *_curves(compared, "memory/")],
    }
    return {title: panels for title, panels in found.items() if panels}


def _scores(compared: Compared) -> list[Any]:
    best = _bars(f"Best {compared.scores[0].label} by cell", [compared.best])
    curves = [_curve("epoch", f"val/{score.name}", score.label) for score in compared.scores]
    return [best, *curves]


def _classes(compared: Compared) -> list[Any]:
    curves = compared.names(CLASS_CURVES, compared.classes)
    bars = [_bars("IoU by class and cell", curves, _FULL)] if curves else []
    return [*bars, _table("val/classes"), _media("val/confusion", "Confusion matrices")]


def _images(compared: Compared) -> list[Any]:
    return [_media("samples", "The same images in all runs, by run and image"), _table("val/predictions")]


def _curves(compared: Compared, prefix: str) -> list[Any]:
    """One plot for each logged name with a prefix; before the first run, one plot of all of them."""
    if compared.logged:
        return [_curve("trainer/global_step", name) for name in compared.names(prefix)]
    return [_line(x="trainer/global_step", title=prefix.rstrip("/"), metric_regex=f"^{prefix}.*")]


def _curve(x: str, name: str, title: str | None = None) -> Any:
    return _line(x=x, y=[name], title=title or name)


def _line(**options: Any) -> Any:
    return libraries()[1].LinePlot(**options, **_by_cell(), layout=_layout(_HALF))


def _bars(title: str, names: list[str], size: dict[str, int] = _HALF) -> Any:
    return libraries()[1].BarPlot(title=title, metrics=names, max_bars_to_show=_ALL_RUNS, **_by_cell(), layout=_layout(size))


def _media(name: str, title: str) -> Any:
    panel = libraries()[1].MediaBrowser
    return panel(title=title, media_keys=[name], mode="grid", grid_x_axis="run", grid_y_axis="index", layout=_layout(_FULL))


def _table(name: str) -> Any:
    return libraries()[1].WeavePanelSummaryTable(table_name=name, layout=_layout(_FULL))


def _by_cell() -> dict[str, Any]:
    cell = libraries()[1].Config("cell")
    return {"groupby": cell, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev", "max_runs_to_show": _ALL_RUNS}


def _layout(size: dict[str, int]) -> Any:
    return libraries()[1].Layout(**size)


def _config_column(key: str) -> str:
    """Column of a dotted key of the configuration; W&B stores the value of a first-level key as its `value`."""
    for own, logged in _NETWORK:
        key = key.replace(own, logged)
    return f"config:{key.replace('.', '.value.', 1)}"
