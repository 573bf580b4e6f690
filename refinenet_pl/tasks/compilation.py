"""torch.compile for any network, without which a run is only slower."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

from refinenet_pl.models.dense_network import has_score_map

SHAPES = 4
"""For how many shapes of a batch, in training or not, a network is compiled: one compilation and three more."""


def compile_network(network: nn.Module) -> None:
    """Have a network's score map, or else its forward pass, compiled when it is first asked for.

    Each shape has code of its own, up to `SHAPES`; batches of others, if images are of many sizes, run as without this. Code
    for all sizes at once is no way out: encoders that pad by the size take torch.compile minutes, and others test if a side is
    odd, and so need several.

    The names of its parameters stay, so that its checkpoints are those of the same network without this. If it cannot be
    compiled, for example without a C++ compiler, one warning says so and the network stays as it is.
    """
    if has_score_map(network):
        network.score_map = _Compiled(network.score_map)
    else:
        network.forward = _Compiled(network.forward)


class _Compiled:
    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.plain = function
        self.compiled = torch.compile(function, dynamic=False)
        self.shapes: set[tuple] = set()

    def __call__(self, x: Tensor) -> Tensor:
        shape = (*x.shape, x.dtype, torch.is_grad_enabled())
        if len(self.shapes) < SHAPES:
            self.shapes.add(shape)
        if shape not in self.shapes:
            return self.plain(x)
        try:
            return self.compiled(x)
        except (TorchDynamoException, InductorError) as error:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"the network cannot be compiled ({reason}); it goes on without, slower", stacklevel=2)
            self.compiled = self.plain
            return self.plain(x)
