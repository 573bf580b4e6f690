"""Folding of batch normalization, which scales and shifts channels in evaluation, into the preceding convolution."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from refinenet_pl.models.dense_network import score_method

TRIAL_SIDE = 64  # can be halved five times

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
"""Max difference of the scores, as a share of the largest one; 0.05 for other dtypes."""


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> int:
    """Fold each batch normalization that directly follows a convolution into that convolution, in place.

    A trial run finds the pairs in any network. A second run verifies that the scores are unchanged; if they are not, the
    network is restored.

    Args:
        network: In evaluation mode.

    Returns:
        Number of normalizations folded.
    """
    parameter = next(network.parameters())
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        return 0
    shape = (2, convolutions[0].in_channels, TRIAL_SIDE, TRIAL_SIDE)
    trial = torch.rand(shape, device=parameter.device, dtype=parameter.dtype)
    try:
        before, pairs = _observed(network, trial)
    except (RuntimeError, ValueError, AssertionError):  # a network for images of other sizes
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
    """Scores of a trial run, and the names of each (convolution, normalization that is the only one of its output)."""
    outputs: list[tuple[Tensor, str]] = []  # with the tensors, so that their memory is not reused
    found: dict[str, list[str]] = {}
    calls: dict[str, int] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
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
    scores = score_method(network)(network, trial)  # torch.compile may have replaced the instance's method
    return scores[0] if isinstance(scores, tuple) else scores


def _rest(norm: nn.BatchNorm2d) -> nn.Module:
    """Remaining parts of a normalization, because timm's contain an activation."""
    parts = [part for part in norm.children() if not isinstance(part, nn.Identity)]
    return nn.Sequential(*parts) if parts else nn.Identity()
