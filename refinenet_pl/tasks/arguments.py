"""Range checks of the task's arguments."""

import math
from collections.abc import Mapping
from typing import Any

_POSITIVE = ("learning_rate", "learning_rate_scale")
_NOT_NEGATIVE = ("encoder_learning_rate_factor", "weight_decay", "power", "warmup_steps")


def check_training_arguments(arguments: Mapping[str, Any]) -> None:
    """Check that the arguments of optimizer and schedule are within their ranges.

    Args:
        arguments: Arguments of a task by name.

    Raises:
        ValueError: An argument is outside its range; the message names both.
    """
    for name in _POSITIVE + _NOT_NEGATIVE:
        value = arguments[name]
        if not (0 < value < math.inf or (value == 0 and name in _NOT_NEGATIVE)):
            raise ValueError(f"{name} is {value}; it must be {'0 or more' if name in _NOT_NEGATIVE else 'greater than 0'}")
    if not 0 < arguments["layer_decay"] <= 1:
        raise ValueError(f"layer_decay is {arguments['layer_decay']}; it must be greater than 0 and at most 1")


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check that the arguments of a segmentation task are within their ranges.

    Args:
        arguments: Arguments of `SegmentationTask` by name.

    Raises:
        ValueError: An argument is outside its range; the message names both.
    """
    weights, classes = arguments["class_weights"], arguments["classes"]
    if isinstance(weights, str):
        raise ValueError(f"class_weights is {weights!r}, which only the command line accepts; pass a weight for each class")
    if weights is not None and len(weights) != classes:
        raise ValueError(f"{len(weights)} class_weights for {classes} classes")
    if weights is not None and (min(weights) < 0 or not sum(weights)):
        raise ValueError(f"class_weights are {list(weights)}; they must be 0 or more, and not all 0")
    check_training_arguments(arguments)
