"""Arithmetic on sizes of maps that also holds in an exported graph, for images of all sizes."""

from collections.abc import Iterable
from fractions import Fraction
from functools import reduce

import torch


def are_open() -> bool:
    """True while torch.export records a graph that leaves sizes open: a comparison of sizes would bind it."""
    # torch.compile says that it exports, too, but it guards its graphs and makes others for other sizes.
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def largest(sides: Iterable[int]) -> int:
    """The largest of some sides."""
    if not are_open():
        return max(sides)
    # Maps of the next depth are smaller at any size of the image. Left out here, they do not add to the arithmetic of sizes,
    # which grows with each maximum.
    sides = list(sides)
    return reduce(torch.sym_max, [side for side in sides if not any(4 * side < 3 * other for other in sides)])


def times(side: int, scale: float) -> int:
    """A side times a scale, rounded with halves up, as MATLAB does."""
    ratio = Fraction(scale).limit_denominator(1000)
    return (2 * ratio.numerator * side + ratio.denominator) // (2 * ratio.denominator)
