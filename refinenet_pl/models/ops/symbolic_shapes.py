"""Arithmetic on map sizes that remains valid in an exported graph for images of all sizes."""

from collections.abc import Iterable
from fractions import Fraction
from functools import reduce

import torch


def are_open() -> bool:
    """Test if torch.export is recording a graph with dynamic sizes, which a comparison of sizes would make static."""
    # torch.compile also reports an export, but it guards its graphs and compiles others for other sizes.
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def largest(sides: Iterable[int]) -> int:
    """Return the largest of some sides."""
    if not are_open():
        return max(sides)
    # Maps of the next depth are smaller at any image size. Leaving them out keeps the arithmetic of sizes short, which grows
    # with each maximum.
    sides = list(sides)
    return reduce(torch.sym_max, [side for side in sides if not any(4 * side < 3 * other for other in sides)])


def times(side: int, scale: float) -> int:
    """Multiply a side by a scale, and round halves up, as MATLAB does."""
    ratio = Fraction(scale).limit_denominator(1000)
    return (2 * ratio.numerator * side + ratio.denominator) // (2 * ratio.denominator)
