"""torch.compile for any network, with a fallback to the plain network."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

from refinenet_pl.models.dense_network import has_score_map

SHAPES = 4
"""Max number of batch shapes, in training and evaluation together, that a network is compiled for."""


def compile_network(network: nn.Module) -> None:
    """Compile a network's score map, or else its forward pass, on its first call.

    Each batch shape is compiled separately, up to `SHAPES`; further shapes, as of a dataset with images of many sizes, run
    uncompiled. Code for all sizes at once (`dynamic=True`) does not help: encoders that pad by the size take torch.compile
    minutes, and others test if a side is odd and are compiled again.

    Parameter names do not change, so checkpoints are those of the same network without compilation. If compilation fails, for
    example without a C++ compiler, the network warns once and runs uncompiled.
    """
    name = "score_map" if has_score_map(network) else "forward"
    setattr(network, name, _Compiled(getattr(network, name)))


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
            warnings.warn(f"the network cannot be compiled ({reason}); continuing uncompiled, which is slower", stacklevel=2)
            self.compiled = self.plain
            return self.plain(x)
