"""What a table's cells may set, where a run's configuration has it, and the paper's value."""

import json
from dataclasses import dataclass
from typing import Any

import yaml

# What has no paper's value: the recipe gives it.
_BY_RECIPE = object()

# As in the signature of refinenet_pl.RefineNet. It stands here too because importing a network takes seconds and the tables
# must be readable without one; tests/test_tables.py keeps the two alike.
_NETWORK = {
    "encoder_name": _BY_RECIPE,
    "encoder_weights": _BY_RECIPE,
    "encoder_depth": 5,
    "cascade": 4,
    "image_scales": (1.0,),
    "width": 256,
    "deepest_width": 512,
    "path_rcus": 2,
    "output_rcus": 1,
    "head_rcus": 2,
    "pooling_blocks": 4,
    "pooling_order": "pool_conv",
    "pooling_relu": True,
    "shortcut": "identity",
    "kernel_size": 3,
    "upsampling": "bilinear",
    "dropout": 0.5,
    "head_dropout": None,
    "input_scale": 1.0,
    "eight_bit_input": False,
    "decoder_init": "published",
    "caffe_strides": False,
    "normalization": None,
    "void_channel": None,
}
_TASK = {"learning_rate_scale": 1.0}


@dataclass(frozen=True)
class Setting:
    """One argument that a cell may set.

    Attributes:
        argument: Its name.
        key: Where it stands in a run's configuration, which is also its option on the command line.
        paper: Its value in the paper.
    """

    argument: str
    key: str
    paper: Any = None

    @property
    def has_paper_value(self) -> bool:
        return self.paper is not _BY_RECIPE

    def option(self, value: Any) -> str:
        """The word of a command line that sets it; the value is written so that YAML reads the same value back."""
        text = value if isinstance(value, str) and yaml.safe_load(value) == value else json.dumps(value, separators=(",", ":"))
        return f"--{self.key}={text}"

    def recorded(self, config: dict) -> tuple[bool, Any]:
        """Whether a run's resolved configuration has it, and its value there."""
        for name in self.key.split("."):
            if not isinstance(config, dict) or name not in config:
                return False, None
            config = config[name]
        return True, config


def network_arguments() -> dict[str, Setting]:
    return {name: Setting(name, f"model.network.init_args.{name}", paper) for name, paper in _NETWORK.items()}


def task_arguments() -> dict[str, Setting]:
    return {name: Setting(name, f"model.{name}", paper) for name, paper in _TASK.items()}


def recipe_setting(key: str) -> Setting:
    """What is neither of the network nor of `task_arguments`, by its dotted key."""
    return Setting(key, key, _BY_RECIPE)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same setting: tuples are lists once they were written to a file, and 1 is 1.0 but not True."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
