"""Arithmetic on maps' sizes that also holds in a graph for pictures of all sizes."""

from collections.abc import Iterable
from fractions import Fraction
from functools import reduce

import torch


def are_open() -> bool:
    """Whether torch.export is recording a graph that leaves sizes open: a comparison of them would bind it."""
    # torch.compile records too, and says that it exports, but guards its graphs and makes others for other sizes.
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def greatest(sides: Iterable[int]) -> int:
    """The greatest of some sides."""
    if not are_open():
        return max(sides)
    # Maps of the next depth are smaller at any size of the picture. Left out here, they do not weigh on the arithmetic of
    # sizes, which grows with each maximum.
    sides = list(sides)
    return reduce(torch.sym_max, [side for side in sides if not any(4 * side < 3 * other for other in sides)])


def times(side: int, scale: float) -> int:
    """A side times a scale, halves up, as MATLAB rounds."""
    ratio = Fraction(scale).limit_denominator(1000)
    return (2 * ratio.numerator * side + ratio.denominator) // (2 * ratio.denominator)
