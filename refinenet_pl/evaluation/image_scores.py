"""Primary score of each image of an evaluation, to find the worst and the best ones."""

from collections.abc import Sequence

import torch.distributed as dist


class ImageScores:
    """Names and scores of the images that this process evaluated; batches without names are not kept."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.kept: list[tuple[str, float]] = []

    def add(self, names: Sequence[str], values: Sequence[float | None]) -> None:
        """Add images.

        Args:
            names: Name of each image; empty if unknown.
            values: Score of each image; None or NaN if nothing in it counts, in which case it is not kept.
        """
        if names:
            pairs = zip(names, values, strict=True)
            self.kept += [(name, value) for name, value in pairs if value is not None and value == value]

    def gather(self) -> list[tuple[str, float]]:
        """Return the names and scores of all processes, sorted by name; every process must call it."""
        parts: list[list[tuple[str, float]]] = [self.kept]
        if dist.is_available() and dist.is_initialized():
            parts = [[] for _ in range(dist.get_world_size())]
            dist.all_gather_object(parts, self.kept)
        return sorted(pair for part in parts for pair in part)
