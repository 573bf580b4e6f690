"""Arguments that the cells of a table can set, with their configuration keys and the paper's values."""

import inspect
import json
from dataclasses import dataclass
from typing import Any

import yaml

from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask

# The recipe sets these; their defaults are not the paper's values.
_BY_RECIPE = {"encoder_name", "encoder_weights"}
# The dataset sets the first two; the others are not part of the paper's network.
_NOT_VARIED = {"in_channels", "classes", "aux_params", "checkpoint_activations"}


@dataclass(frozen=True)
class Setting:
    """An argument that a cell can set.

    Attributes:
        argument: Name of the argument.
        key: Dotted key in a run's configuration, which is also the command-line option.
        has_paper_value: True if the paper specifies a value; otherwise the recipe sets it.
        paper: The paper's value.
    """

    argument: str
    key: str
    has_paper_value: bool = False
    paper: Any = None

    def option(self, value: Any) -> str:
        """Format as a command-line option that YAML parses back to the same value."""
        text = value if isinstance(value, str) and yaml.safe_load(value) == value else json.dumps(value, separators=(",", ":"))
        return f"--{self.key}={text}"

    def recorded(self, config: dict[str, Any]) -> tuple[bool, Any]:
        """Look up the value in a run's resolved configuration.

        Returns:
            True and the value, or False and None if the configuration does not contain the key.
        """
        value: Any = config
        for name in self.key.split("."):
            if not isinstance(value, dict) or name not in value:
                return False, None
            value = value[name]
        return True, value


def network_arguments() -> dict[str, Setting]:
    """Arguments of RefineNet by name; its defaults are the paper's values."""
    defaults = {name: p.default for name, p in inspect.signature(RefineNet).parameters.items() if name not in _NOT_VARIED}
    key = "model.network.init_args"
    return {name: Setting(name, f"{key}.{name}", name not in _BY_RECIPE, value) for name, value in defaults.items()}


def task_arguments() -> dict[str, Setting]:
    """Arguments of the task that scale a recipe's value instead of replacing it; the default leaves it unchanged."""
    name = "learning_rate_scale"
    return {name: Setting(name, f"model.{name}", True, inspect.signature(SegmentationTask).parameters[name].default)}


def recipe_setting(key: str) -> Setting:
    """Any other value of a recipe, by its dotted key."""
    return Setting(key, key)


def same(one: Any, other: Any) -> bool:
    """Compare two settings: a tuple equals a list with the same items, and 1 equals 1.0 but not True."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def gives(value: Any, recorded: Any) -> bool:
    """Test if a value in a table gives the value in a resolved configuration, which has all arguments of an object.

    Args:
        value: Value in the table; an object with `class_path` may omit `init_args` that have their defaults.
        recorded: Value in the configuration.
    """
    if isinstance(value, dict) and isinstance(recorded, dict) and "class_path" in value:
        arguments, known = value.get("init_args") or {}, recorded.get("init_args") or {}
        path = recorded.get("class_path") or ""
        named = path == value["class_path"] or path.endswith(f".{value['class_path']}")
        return named and all(name in known and gives(part, known[name]) for name, part in arguments.items())
    if isinstance(value, (list, tuple)) and isinstance(recorded, (list, tuple)):
        return len(value) == len(recorded) and all(map(gives, value, recorded))
    return same(value, recorded)
