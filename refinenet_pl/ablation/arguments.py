"""Arguments that a table's cells may set, their keys in a run's configuration, and their values in the paper."""

import inspect
import json
from dataclasses import dataclass
from typing import Any

import yaml

from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask

# The recipe gives them; no value is the paper's.
_BY_RECIPE = {"encoder_name", "encoder_weights"}
# The dataset gives the first two, and the others are no part of the paper's network.
_NOT_VARIED = {"in_channels", "classes", "aux_params", "checkpoint_activations"}


@dataclass(frozen=True)
class Setting:
    """One argument that a cell may set.

    Attributes:
        argument: Its name.
        key: Its key in a run's configuration, which is also its option on the command line.
        has_paper_value: Whether the paper has a value for it; otherwise the recipe gives it.
        paper: That value.
    """

    argument: str
    key: str
    has_paper_value: bool = False
    paper: Any = None

    def option(self, value: Any) -> str:
        """The word of a command line that sets it; the value is written so that YAML reads the same value back."""
        text = value if isinstance(value, str) and yaml.safe_load(value) == value else json.dumps(value, separators=(",", ":"))
        return f"--{self.key}={text}"

    def recorded(self, config: dict) -> tuple[bool, Any]:
        """Look it up in a run's resolved configuration: if it is there, and its value."""
        for name in self.key.split("."):
            if not isinstance(config, dict) or name not in config:
                return False, None
            config = config[name]
        return True, config


def network_arguments() -> dict[str, Setting]:
    """RefineNet's arguments by name; its defaults are the paper's values."""
    defaults = {name: p.default for name, p in inspect.signature(RefineNet).parameters.items() if name not in _NOT_VARIED}
    key = "model.network.init_args"
    return {name: Setting(name, f"{key}.{name}", name not in _BY_RECIPE, value) for name, value in defaults.items()}


def task_arguments() -> dict[str, Setting]:
    """Arguments of the task that change a recipe's value instead of replacing it; the default changes nothing."""
    name = "learning_rate_scale"
    return {name: Setting(name, f"model.{name}", True, inspect.signature(SegmentationTask).parameters[name].default)}


def recipe_setting(key: str) -> Setting:
    """Any other value of a recipe, by its dotted key."""
    return Setting(key, key)


def same(one: Any, other: Any) -> bool:
    """Compare two settings: a tuple equals the list that a file has of it, and 1 equals 1.0 but not True."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
