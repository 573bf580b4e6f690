"""Prediction of continuous values in overlapping tiles, so that the network's activations do not grow with the image."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from refinenet_pl.evaluation.tiles import Tiles, cut_tile


def predict_in_tiles(
    predict: Callable[[Tensor], Tensor], read: Callable[[slice], Tensor], tiles: Tiles, size: tuple[int, int]
) -> Tensor:
    """Predict each tile, and average the predictions of overlapping tiles with linear ramps, see `ramps`.

    Args:
        predict: Maps float (N, 3, h, w) in 0..255 to values, at least float32 (N, channels, h, w).
        read: Maps a slice of the image's rows to uint8 or float (N, 3, rows, W) in 0..255, without rows outside the image.
        tiles: Placement of the tiles.
        size: (height, width) of the image.

    Returns:
        The values of the whole image, (N, channels, height, width), in the dtype of `predict`.
    """
    height, width = tiles.tile
    down, across = ramps(tiles.tops, height), ramps(tiles.lefts, width)
    total: Tensor | None = None
    for top, row_weights in zip(tiles.tops, down, strict=True):
        band = read(slice(top, top + height))
        for left, column_weights in zip(tiles.lefts, across, strict=True):
            found = predict(cut_tile(band, left, tiles.tile))
            if total is None:
                total = found.new_zeros(*found.shape[:2], *size)
            place = total[..., top : top + height, left : left + width]
            # The last tiles can extend outside the image.
            rows, columns = place.shape[-2:]
            weights = (row_weights[:rows, None] * column_weights[:columns]).to(found.dtype).to(found.device)
            place += found[..., :rows, :columns] * weights
    assert total is not None  # there is at least one tile
    return total


def ramps(starts: Sequence[int], length: int) -> Tensor:
    """Compute the weights of tiles along one side, in proportion to the distance of a pixel from the tile's nearer end.

    A plain mean has a step at each end of a tile if two tiles predict different values for the same pixel. In depth, such a
    step looks like the edge of an object. With these weights, values change linearly from one tile to the next, and pixels
    near the end of a tile, for which the network sees the least context, count the least.

    Args:
        starts: First pixel of each tile, ascending.
        length: Length of a tile in pixels.

    Returns:
        float64 (tiles, length), on the CPU. At each pixel, the weights of all tiles that cover it add up to 1; the weight of a
        single tile is exactly 1.
    """
    positions = torch.arange(length, dtype=torch.float64, device="cpu") + 0.5
    distances = torch.minimum(positions, length - positions)
    total = distances.new_zeros(starts[-1] + length)
    for start in starts:
        total[start : start + length] += distances
    return torch.stack([distances / total[start : start + length] for start in starts])
