"""Stages of an encoder, for learning rates that decrease toward its input."""

import re

from torch import nn

_NUMBERED = re.compile(r"\D*(\d+)[^.]*\..*\.")  # layer1.0.conv1.weight, but not conv1.weight


def stages(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """Divide the parameters of an encoder into its stages, from the input on.

    The first number in a parameter's name is its stage, as in `layer1.0.conv1.weight` of smp and `blocks.3.0.conv.weight` of
    timm. Parameters without a number belong to the stage before them, and those before the first stage are one of their own.

    Args:
        encoder: An encoder of smp.

    Raises:
        ValueError: It has fewer than two stages.
    """
    found: dict[int, list[nn.Parameter]] = {}
    stage = -1
    for name, parameter in encoder.named_parameters():
        if match := _NUMBERED.match(name):
            stage = int(match[1])
        found.setdefault(stage, []).append(parameter)
    if len(found) < 2:
        raise ValueError(
            f"model.layer_decay: the stages of {type(encoder).__name__} cannot be inferred from the names of its parameters; "
            "set it to 1"
        )
    return [found[number] for number in sorted(found)]
