"""MATLAB's bicubic resizing, slowly."""

import math

import numpy as np


def matlab_cubic(distance):
    """The kernel of MATLAB's imresize(..., 'bicubic'): Keys' with a = -0.5."""
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d <= 2 else 0.0


def matlab_line(source: int, target: int, factor: float) -> np.ndarray:
    """What MATLAB's `contributions` makes: (target, source), one output and one kernel tap at a time."""
    weights = np.zeros((target, source))
    mirrored = [*range(source), *reversed(range(source))]
    stretch = max(1, 1 / factor)
    for place in range(target):
        center = (place + 0.5) / factor - 0.5
        for tap in range(math.floor(center - 2 * stretch), math.ceil(center + 2 * stretch) + 1):
            weights[place, mirrored[tap % (2 * source)]] += matlab_cubic((center - tap) / stretch)
    return weights / weights.sum(1, keepdims=True)
