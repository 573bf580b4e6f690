"""Masks from regions: the order of overlapping regions, and counts of unusual ones."""

from typing import Literal, NamedTuple

import numpy as np

from refinenet_pl.datasets.importing.annotations import Bitmap, Polygons, Region, Size
from refinenet_pl.datasets.importing.polygons import Crop, fill
from refinenet_pl.datasets.readers.labels import VOID
from refinenet_pl.errors import DataError

Order = Literal["area", "file"]

# Points this far outside, in pixels, are due to rounding.
_TOLERANCE = 0.5


class Rendered(NamedTuple):
    """A mask.

    Attributes:
        mask: Class ids and void, uint8 (height, width).
        clipped: Number of regions with points outside the image.
        empty: Number of regions that contain no pixel center.
    """

    mask: np.ndarray
    clipped: int
    empty: int


def render(regions: list[Region], size: Size, ids: dict[str, int], unlabeled: int, order: Order, normalized: bool) -> Rendered:
    """Render the regions of an image.

    A region covers those of lower layers. In a layer, `area` puts smaller regions onto larger ones, so that both remain
    visible, and regions of equal area in the order of the file; `file` puts later regions onto earlier ones.

    Args:
        regions: The regions, in the order of the file.
        size: Width and height of the image.
        ids: Class id of each label.
        unlabeled: Value of pixels without a region.
        order: Order in a layer.
        normalized: True if the coordinates of polygons are shares of the size.

    Raises:
        DataError: A mask is damaged or outside the image.
    """
    crops, clipped = [], 0
    for region in regions:
        if isinstance(region.shape, Bitmap):
            crops.append(_crop(region.shape, size, region.place))
            continue
        polygons = Polygons(tuple(part * size for part in region.shape.parts)) if normalized else region.shape
        points = np.concatenate(polygons.parts)
        clipped += bool((points < -_TOLERANCE).any() or (points > np.array(size) + _TOLERANCE).any())
        crops.append(fill(polygons, size))
    areas = [int(crop.mask.sum()) for crop in crops]
    ranks = [(region.layer, -area if order == "area" else 0) for region, area in zip(regions, areas, strict=True)]
    mask = np.full(size[::-1], unlabeled, np.uint8)
    for index in sorted(range(len(regions)), key=ranks.__getitem__):
        left, top, inside = crops[index]
        label = regions[index].label
        mask[top : top + inside.shape[0], left : left + inside.shape[1]][inside] = VOID if label is None else ids[label]
    return Rendered(mask, clipped, areas.count(0))


def _crop(bitmap: Bitmap, size: Size, place: str) -> Crop:
    try:
        inside = bitmap.read()
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: {error}; export the annotation again") from error
    height, width = inside.shape
    if not (0 <= bitmap.left <= size[0] - width and 0 <= bitmap.top <= size[1] - height):
        raise DataError(
            f"{place}: its {width}x{height} mask at ({bitmap.left}, {bitmap.top}) exceeds the {size[0]}x{size[1]} image; use "
            "the image that was annotated"
        )
    return Crop(bitmap.left, bitmap.top, inside)
