"""Optimizers with a separate learning rate for the encoder, and the poly schedule."""

from typing import Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, LinearLR, LRScheduler, PolynomialLR

OptimizerName = Literal["sgd", "adamw"]


def build_optimizer(
    name: OptimizerName,
    network: nn.Module,
    encoder: nn.Module | None,
    learning_rate: float,
    encoder_factor: float,
    weight_decay: float,
) -> Optimizer:
    """Build the optimizer of a network.

    Args:
        name: `sgd` with momentum 0.9, or `adamw`.
        network: The network.
        encoder: Part of the network with its own learning rate, the first parameter group; None if there is no such part.
        learning_rate: Learning rate of the other parameters.
        encoder_factor: Factor of the encoder's learning rate.
        weight_decay: Weight decay of all parameters.
    """
    encoder_parameters = [] if encoder is None else list(encoder.parameters())
    known = {id(parameter) for parameter in encoder_parameters}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    groups = [
        {"name": name, "params": [p for p in parameters if p.requires_grad], "lr": rate}
        for name, parameters, rate in (
            ("encoder", encoder_parameters, learning_rate * encoder_factor),
            ("decoder", others, learning_rate),
        )
    ]
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        return SGD(groups, momentum=0.9, weight_decay=weight_decay)
    return AdamW(groups, weight_decay=weight_decay)


def build_schedule(optimizer: Optimizer, steps: int, power: float, warmup_steps: int) -> LRScheduler:
    """Build the poly schedule over `steps` optimizer steps, with a linear warmup over the first `warmup_steps`."""
    poly = PolynomialLR(optimizer, total_iters=steps, power=power)
    if not warmup_steps:
        return poly
    return ChainedScheduler([LinearLR(optimizer, start_factor=0.01, total_iters=warmup_steps), poly])
