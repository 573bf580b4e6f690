"""Prediction of images larger than the memory: in overlapping tiles, of which only the rows still needed are kept."""

from collections import deque
from collections.abc import Callable, Iterator
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from refinenet_pl.models.ops.chunked_upsampling import exact_products
from refinenet_pl.models.ops.partial_resize import resize_rows
from refinenet_pl.models.ops.resize import resize

GRID = 40
"""Grid of the tiles in pixels.

On it, score maps at 1/4 have a whole number of cells, even if the network first upsamples its images by 1.2.
"""

SOURCE_ROWS = 128
"""Rows of an image that are resized at a time."""


class Tiles(NamedTuple):
    """Placement of overlapping tiles.

    Attributes:
        tile: (height, width) of a tile in pixels, multiples of `GRID`.
        covered: (height, width) in pixels that all tiles cover together, multiples of `GRID`.
        tops: First row of each row of tiles, ascending.
        lefts: First column of each column of tiles, ascending.
    """

    tile: tuple[int, int]
    covered: tuple[int, int]
    tops: list[int]
    lefts: list[int]

    @classmethod
    def over(cls, size: tuple[int, int], tile: tuple[int, int], overlap: float) -> "Tiles | None":
        """Place tiles over an image.

        Args:
            size: (height, width) of the image.
            tile: (height, width) of a tile in pixels, rounded up to multiples of `GRID`.
            overlap: Min share of a tile that the next one also covers.

        Returns:
            The tiles; None if the image is no larger than one.
        """
        height, width = _on_grid(tile[0]), _on_grid(tile[1])
        if size[0] <= height and size[1] <= width:
            return None
        covered = _on_grid(size[0]), _on_grid(size[1])
        height, width = min(height, covered[0]), min(width, covered[1])
        return cls((height, width), covered, _starts(covered[0], height, overlap), _starts(covered[1], width, overlap))


class TiledScoreMap:
    """Log of the mean of the tiles' softmax probabilities, read from top to bottom.

    Args:
        network: Maps float (N, 3, h, w) in 0..255 to logits (N, channels, ., .) at any fixed fraction of that size.
        read: Maps a slice of the image's rows to uint8 or float (N, 3, rows, W) in 0..255, without rows outside the image.
        tiles: Placement of the tiles.
        classes: Channels of the logits to keep; the softmax is over all channels.

    Attributes:
        shape: (N, classes, h, w) of the map of all tiles, of which only a few rows exist at a time.
        dtype: float32 or float64.
        device: Device of the rows.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], read: Callable[[slice], Tensor], tiles: Tiles, classes: slice = slice(None)
    ):
        self._bands = _finished_bands(network, read, tiles, classes)
        first = next(self._bands)
        self._kept = deque([first])
        self._start, self._stop = 0, first.shape[2]
        height = tiles.covered[0] * first.shape[2] // [*tiles.tops, tiles.covered[0]][1]
        self.shape = (*first.shape[:2], height, first.shape[3])
        self.dtype, self.device = first.dtype, first.device

    def rows(self, wanted: slice) -> Tensor:
        """Compute some rows of the map.

        Args:
            wanted: Rows of the map. They must not start above those of the previous call, because rows above are discarded.

        Returns:
            Float (N, classes, rows, w).
        """
        self._discard(wanted.start)
        while self._stop < wanted.stop:
            self._kept.append(next(self._bands))
            self._stop += self._kept[-1].shape[2]
            self._discard(wanted.start)
        parts, start = [], self._start
        for band in self._kept:
            parts.append(band[:, :, max(0, wanted.start - start) : max(0, wanted.stop - start)])
            start += band.shape[2]
        return torch.cat(parts, 2)

    def _discard(self, start: int) -> None:
        while self._kept and self._start + self._kept[0].shape[2] <= start:
            self._start += self._kept.popleft().shape[2]


def cut_tile(band: Tensor, left: int, tile: tuple[int, int]) -> Tensor:
    """Cut one tile out of a row of tiles, and repeat the image's edge if the tile extends outside the image.

    Args:
        band: uint8 or float (N, 3, rows, W): the tile's rows inside the image.
        left: First column of the tile.
        tile: (height, width) of the tile.

    Returns:
        Float (N, 3, height, width).
    """
    part = band[..., left : left + tile[1]].float()
    return F.pad(part, (0, tile[1] - part.shape[-1], 0, tile[0] - part.shape[-2]), mode="replicate")


def scaled_rows(image: Tensor, size: tuple[int, int], rows: slice) -> Tensor:
    """Compute some rows of a resized image.

    Args:
        image: uint8 or float (N, C, H, W) in 0..255.
        size: (height, width) of the resized image.
        rows: Rows of the resized image; rows outside it are omitted.

    Returns:
        (N, 3, rows, width): float in 0..255, bilinear with antialiasing; uint8 if the image has that size.
    """
    height = image.shape[-2]
    if size == tuple(image.shape[-2:]):
        return image[..., rows, :]
    step = max(1, SOURCE_ROWS * size[0] // height)
    last = min(rows.stop, size[0])
    parts = []
    for top in range(rows.start, last, step):
        used, matrix = resize_rows(height, size[0], "antialiased", slice(top, min(top + step, last)), torch.float32)
        part = image[..., used, :].float()
        part = F.interpolate(part, (part.shape[-2], size[1]), mode="bilinear", antialias=True)
        with exact_products(image.device):
            parts.append(matrix.to(image.device) @ part)
    return torch.cat(parts, 2)


def _finished_bands(
    network: Callable[[Tensor], Tensor], read: Callable[[slice], Tensor], tiles: Tiles, classes: slice
) -> Iterator[Tensor]:
    """Rows of the map that no further tile covers, (N, classes, rows, w), from top to bottom."""
    carried = None
    for top, after in zip(tiles.tops, [*tiles.tops[1:], tiles.covered[0]], strict=True):
        total, count = _row_of_tiles(network, read, tiles, top, classes, carried)
        finished = total.shape[2] * (after - top) // tiles.tile[0]
        # Copies, because a view would keep the whole tensor; and the references are deleted, so that the caller can free rows.
        carried = total[:, :, finished:].clone(), count[finished:].clone()
        band = total[:, :, :finished] / count[:finished]
        del total
        yield band.clamp_(min=torch.finfo(band.dtype).tiny).log_()
        del band


def _row_of_tiles(
    network: Callable[[Tensor], Tensor],
    read: Callable[[slice], Tensor],
    tiles: Tiles,
    top: int,
    classes: slice,
    carried: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Sum of the softmax probabilities of one row of tiles and of those above, and the number of summands."""
    height, width = tiles.tile
    band = read(slice(top, top + height))
    sums: tuple[Tensor, Tensor] | None = None
    for left in tiles.lefts:
        logits = network(cut_tile(band, left, tiles.tile))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        # Cells of the score map per grid cell.
        down, across = (max(1, round(GRID * side / of)) for side, of in zip(logits.shape[-2:], tiles.tile, strict=True))
        size = height // GRID * down, width // GRID * across
        if sums is None:
            shape = size[0], tiles.covered[1] // GRID * across
            sums = logits.new_zeros(*logits[:, classes].shape[:2], *shape), logits.new_zeros(shape)
            if carried is not None:
                rows = carried[1].shape[0]
                sums[0][:, :, :rows], sums[1][:rows] = carried
        total, count = sums
        column = left // GRID * across
        total[..., column : column + size[1]] += resize(logits, size, "bilinear").softmax(1)[:, classes]
        count[:, column : column + size[1]] += 1
    assert sums is not None  # there is at least one tile
    return sums


def _on_grid(length: int) -> int:
    return GRID * ceil(length / GRID)


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the tiles along one side, on the grid; the last tile ends with the side."""
    step = max(GRID, int(tile * (1 - overlap)) // GRID * GRID)
    return [*range(0, length - tile, step), length - tile]
