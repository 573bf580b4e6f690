"""Pictures that do not fit, in overlapping tiles."""

from collections.abc import Callable
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.network.resize import resize

# Tiles lie on a grid of so many pixels, on which score maps at a quarter of the size are whole numbers of cells also when the
# network enlarges its pictures by 1.2 first.
GRID = 40


def tiled_score_map(
    network: Callable[[Tensor], Tensor], x: Tensor, tile: tuple[int, int], overlap: float
) -> tuple[Tensor, tuple[int, int]]:
    """Logits of a picture, put together from overlapping tiles.

    Args:
        network: Maps float (N, C, h, w) to logits of any fixed fraction of that size.
        x: Float (N, C, H, W).
        tile: (height, width) of a tile in pixels, rounded up to multiples of `GRID`.
        overlap: Least share of a tile that the next one sees too.

    Returns:
        Log of the mean of the tiles' softmax probabilities, float32 or float64 (N, classes, h, w), and the (height, width) in
        pixels that it covers, which may be a little more than the picture's. The logits themselves where the picture is no
        larger than a tile.
    """
    size = tuple(x.shape[-2:])
    tile = tuple(GRID * ceil(side / GRID) for side in tile)
    if size[0] <= tile[0] and size[1] <= tile[1]:
        return network(x), size
    covered = tuple(GRID * ceil(side / GRID) for side in size)
    tile = tuple(min(pair) for pair in zip(tile, covered, strict=True))
    x = F.pad(x, (0, covered[1] - size[1], 0, covered[0] - size[0]), mode="replicate")
    total = count = None
    for top in _starts(covered[0], tile[0], overlap):
        for left in _starts(covered[1], tile[1], overlap):
            logits = network(x[..., top : top + tile[0], left : left + tile[1]])
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            if total is None:
                cells = tuple(max(1, round(GRID * side / of)) for side, of in zip(logits.shape[-2:], tile, strict=True))
                shape = [of // GRID * cell for of, cell in zip(covered, cells, strict=True)]
                total = logits.new_zeros(*logits.shape[:2], *shape)
                count = logits.new_zeros(shape)
            logits = resize(logits, tuple(of // GRID * cell for of, cell in zip(tile, cells, strict=True)), "bilinear")
            y, x_ = top // GRID * cells[0], left // GRID * cells[1]
            where = (..., slice(y, y + logits.shape[-2]), slice(x_, x_ + logits.shape[-1]))
            total[where] += logits.softmax(1)
            count[where] += 1
    return total.div_(count).clamp_(min=torch.finfo(total.dtype).tiny).log_(), covered


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along one side, on the grid; the last one ends where the side does."""
    step = max(GRID, int(tile * (1 - overlap)) // GRID * GRID)
    return [*range(0, length - tile, step), length - tile]
