"""Batch normalisation in evaluation is a scale and a shift of channels, which the convolution before it can do."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

# Large enough for five halvings to leave something.
TRIAL_SIDE = 64

# How much the scores may differ, as a share of the greatest one. Sixteen bits leave more.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> int:
    """Fold each batch normalisation that directly follows a convolution into that convolution, in place.

    Which follows which is seen in a trial run, whatever the network's code is like, and a second one verifies that the scores
    have stayed. A network of which that is not so is left as it was.

    Args:
        network: In evaluation mode.

    Returns:
        How many were folded.
    """
    parameter = next(network.parameters())
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        return 0
    shape = (2, convolutions[0].in_channels, TRIAL_SIDE, TRIAL_SIDE)
    trial = torch.rand(shape, device=parameter.device, dtype=parameter.dtype)
    try:
        before, pairs = _observed(network, trial)
    except (RuntimeError, ValueError, AssertionError):  # a network for pictures of other sizes
        return 0
    modules = dict(network.named_modules())
    kept = [(modules[conv], modules[conv].weight, modules[conv].bias, name, modules[name]) for conv, name in pairs]
    for conv, weight, bias, name, norm in kept:
        conv.weight, conv.bias = fuse_conv_bn_weights(
            weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        network.set_submodule(name, _rest(norm))
    difference = (_scores(network, trial) - before).abs().max()
    if difference <= TOLERANCE.get(parameter.dtype, 0.05) * before.abs().max():
        return len(pairs)
    for conv, weight, bias, name, norm in kept:
        conv.weight, conv.bias = weight, bias
        network.set_submodule(name, norm)
    return 0


def _observed(network: nn.Module, trial: Tensor) -> tuple[Tensor, list[tuple[str, str]]]:
    """The scores of a trial run, and the names of (convolution, normalisation of its output and of nothing else)."""
    outputs: list[tuple[Tensor, str]] = []  # tensors are kept, so that no other takes their place in memory
    found: dict[str, list[str]] = {}
    calls: dict[str, int] = {}

    def watch(name: str):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, nn.BatchNorm2d):
                source = next((conv for tensor, conv in outputs if tensor is inputs[0]), None)
                if source is not None:
                    found.setdefault(source, []).append(name)
            else:
                outputs.append((output, name))

        return hook

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) or (isinstance(module, nn.BatchNorm2d) and module.track_running_stats)
    ]
    try:
        scores = _scores(network, trial)
    finally:
        for handle in handles:
            handle.remove()
    pairs = [(conv, norms[0]) for conv, norms in found.items() if len(norms) == 1 == calls[conv] == calls[norms[0]]]
    return scores, pairs


def _scores(network: nn.Module, trial: Tensor) -> Tensor:
    # Those of the class, not what torch.compile may have put in their place.
    method = type(network).score_map if hasattr(network, "score_map") else type(network).forward
    scores = method(network, trial)
    return scores[0] if isinstance(scores, tuple) else scores


def _rest(norm: nn.BatchNorm2d) -> nn.Module:
    """What a normalisation does besides: timm's have an activation of their own."""
    parts = [part for part in norm.children() if not isinstance(part, nn.Identity)]
    return nn.Sequential(*parts) if parts else nn.Identity()
