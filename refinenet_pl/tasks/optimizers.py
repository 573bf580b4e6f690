"""Optimizers with a separate learning rate for the encoder, and learning rate schedules."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, LinearLR, LRScheduler, PolynomialLR

from refinenet_pl.tasks.encoder_stages import stages

OptimizerName = Literal["sgd", "adamw"]
OptimizerFactory = Callable[[Iterable], Optimizer]
"""Class of an optimizer with all arguments but the parameters, as LightningCLI makes it from a class path."""

ScheduleName = Literal["poly"]
ScheduleFactory = Callable[[Optimizer], LRScheduler]
"""Class of a schedule with all arguments but the optimizer."""


def build_optimizer(
    how: OptimizerName | OptimizerFactory,
    network: nn.Module,
    encoder: nn.Module | None,
    learning_rate: float,
    encoder_factor: float,
    weight_decay: float,
    decay_all: bool = True,
    layer_decay: float = 1.0,
) -> Optimizer:
    """Build the optimizer of a network.

    Args:
        how: `sgd` with momentum 0.9, `adamw`, or another optimizer, whose learning rate and weight decay are replaced by those
            of the groups.
        network: The network.
        encoder: Part of the network with its own learning rate, the first parameter group; None if there is no such part.
        learning_rate: Learning rate of the other parameters.
        encoder_factor: Factor of the encoder's learning rate.
        weight_decay: Weight decay.
        decay_all: Also decay biases and the parameters of normalization layers, which are vectors.
        layer_decay: Factor of the learning rate from each stage of the encoder to the preceding one, see `stages`.

    Raises:
        ValueError: `layer_decay` is not 1 and there is no encoder, or it has no stages.
    """
    if encoder is None and layer_decay != 1:
        raise ValueError(f"model.layer_decay is {layer_decay}, but the network has no part `encoder`; set it to 1")
    encoder_parameters = [] if encoder is None else list(encoder.parameters())
    known = {id(parameter) for parameter in encoder_parameters}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    groups: list[dict[str, Any]] = []
    for name, parameters, rate in (
        *_encoder_parts(encoder, encoder_parameters, learning_rate * encoder_factor, layer_decay),
        ("decoder", others, learning_rate),
    ):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        vectors = [] if decay_all else [parameter for parameter in trained if parameter.dim() <= 1]
        matrices = trained if decay_all else [parameter for parameter in trained if parameter.dim() > 1]
        groups.append({"name": name, "params": matrices, "lr": rate, "weight_decay": weight_decay})
        groups.append({"name": f"{name}, no decay", "params": vectors, "lr": rate, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    if how == "sgd":
        return SGD(groups, momentum=0.9)
    if how == "adamw":
        return AdamW(groups)
    return how(groups)


def _encoder_parts(
    encoder: nn.Module | None, parameters: list[nn.Parameter], rate: float, layer_decay: float
) -> list[tuple[str, list[nn.Parameter], float]]:
    """Parts of the encoder with a learning rate of their own: name, parameters and rate."""
    if encoder is None or layer_decay == 1:
        return [("encoder", parameters, rate)]
    found = stages(encoder)
    return [
        (f"encoder, stage {number}", stage, rate * layer_decay ** (len(found) - 1 - number))
        for number, stage in enumerate(found)
    ]


def build_schedule(
    how: ScheduleName | ScheduleFactory, optimizer: Optimizer, steps: int, power: float, warmup_steps: int
) -> LRScheduler:
    """Build the schedule, which is advanced after each optimizer step.

    Args:
        how: `poly`, or another schedule.
        optimizer: The optimizer.
        steps: Number of optimizer steps of the training.
        power: Exponent of `poly`.
        warmup_steps: Number of steps over which the rate first increases linearly.
    """
    main = PolynomialLR(optimizer, total_iters=steps, power=power) if how == "poly" else how(optimizer)
    if not warmup_steps:
        return main
    return ChainedScheduler([LinearLR(optimizer, start_factor=0.01, total_iters=warmup_steps), main])
