"""Limits of an image's short edge, as the authors' code has them in training and in testing."""

from collections.abc import Sequence


def short_edge_factor(size: Sequence[int], limits: tuple[int, int], scale: float = 1.0) -> float:
    """Factor that brings the short edge within limits, and then applies a scale.

    Args:
        size: Height and width in pixels.
        limits: Min and max short edge in pixels.
        scale: The scale.
    """
    short = min(size)
    return scale * min(max(limits[0], short), limits[1]) / short
