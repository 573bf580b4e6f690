"""Limits of an image's short edge, as in the authors' training and test code."""

from collections.abc import Sequence


def short_edge_factor(size: Sequence[int], limits: tuple[int, int], scale: float = 1.0) -> float:
    """Resize factor that brings the short edge within limits, times a scale.

    Args:
        size: Height and width in pixels.
        limits: Min and max short edge in pixels.
        scale: Additional factor.
    """
    short = min(size)
    return scale * min(max(limits[0], short), limits[1]) / short
