"""Tiles: equal to the whole image, in memory that does not grow with the height."""

import os
import subprocess
import sys
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import CLASSES, Network, images
from helpers.repository import REPOSITORY
from torch import Tensor

from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.models.ops.chunked_upsampling import resize_matrix
from refinenet_pl.models.ops.partial_resize import resize_rows
from refinenet_pl.models.ops.resize import resize
from refinenet_pl.tasks.segmentation import SegmentationTask

TILE = (80, 120)


def normalize(x: Tensor) -> Tensor:
    return (x.float() - 120) / 60


def starts(length: int, tile: int, overlap: float) -> list[int]:
    step = max(40, int(tile * (1 - overlap)) // 40 * 40)
    return sorted({*range(0, length - tile, step), length - tile})


def whole_map(network: Network, x: Tensor, overlap: float, classes: slice) -> Tensor:
    """Log probabilities of all tiles at the size of the normalized image `x`, added up on one large map."""
    size = tuple(x.shape[-2:])
    if size[0] <= TILE[0] and size[1] <= TILE[1]:
        return resize(network.score_map(x)[:, classes], size, network.upsampling)
    covered = tuple(-(-side // 40) * 40 for side in size)
    tile = tuple(map(min, TILE, covered))
    x = F.pad(x, (0, covered[1] - size[1], 0, covered[0] - size[0]), mode="replicate")
    cell = network.stride
    total = torch.zeros(len(x), len(network.weight), covered[0] // cell, covered[1] // cell, dtype=torch.float64)
    count = torch.zeros(total.shape[-2:])
    for top, left in product(*(starts(*sides, overlap) for sides in zip(covered, tile, strict=True))):
        part = network.score_map(x[..., top : top + tile[0], left : left + tile[1]])
        place = (..., slice(top // cell, (top + tile[0]) // cell), slice(left // cell, (left + tile[1]) // cell))
        total[place] += part.softmax(1)
        count[place] += 1
    logs = (total / count).log()[:, classes]
    return resize(logs, covered, network.upsampling)[..., : size[0], : size[1]]


def assert_equals_whole(network, image, scales=(1.0,), flip=False, overlap=0.25, void=None, classes=slice(None)) -> None:
    """Compare tiles with the mean probabilities of all views, each computed at its full size."""
    parts = []
    with torch.inference_mode():
        for scale in scales:
            size = tuple(max(1, round(scale * side)) for side in image.shape[-2:])
            scaled = F.interpolate(image.float(), size, mode="bilinear", antialias=True)
            for flipped in (False, True)[: 1 + flip]:
                logs = whole_map(network, normalize(scaled.flip(-1) if flipped else scaled), overlap, classes)
                part = resize(logs, image.shape[-2:], "bilinear").softmax(1)
                parts.append(part.flip(-1) if flipped else part)
        inference = Inference(scales=scales, flip=flip, tile=TILE, tile_overlap=overlap, void_channel=void)
        found = torch.cat([part for _, part in inference.log_probabilities(network, image, normalize)], 2).exp()
    torch.testing.assert_close(found, torch.stack(parts).mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(203, 310), (61, 1003), (517, 83), (41, 81)])
@pytest.mark.parametrize(
    ("scales", "flip", "overlap"),
    [((1.0,), False, 0.25), ((0.5,), True, 0.0), ((1.5,), False, 0.6), ((0.05, 1.0, 0.71), True, 0.25), ((1.0,), False, 0.89)],
)
def test_equal_the_whole_image(size, scales, flip, overlap):
    assert_equals_whole(Network(), images(2, *size), scales, flip, overlap)


@pytest.mark.parametrize("upsampling", ["bilinear", "bilinear_aligned", "bicubic"])
@pytest.mark.parametrize("stride", [1, 4, 5, 8])
def test_equal_the_whole_image_for_any_upsampling(upsampling, stride, monkeypatch):
    # One row at a time needs the most different parts of the map.
    monkeypatch.setattr("refinenet_pl.models.ops.chunked_upsampling.CHUNK_BYTES", 1)
    assert_equals_whole(Network(stride=stride, upsampling=upsampling), images(1, 203, 310), (1.0, 0.8), True)


@pytest.mark.parametrize(("void", "classes"), [("first", slice(1, None)), ("last", slice(None, -1))])
def test_void_is_in_the_softmax_but_not_in_the_mean(void, classes):
    assert_equals_whole(Network(CLASSES + 1), images(2, 203, 130), (1.0, 0.3), True, void=void, classes=classes)


@pytest.mark.parametrize(
    ("source", "target"), [(10, 40), (12, 40), (300, 1000), (77, 77), (250, 61), (61, 250), (1, 7), (900, 2)]
)
@pytest.mark.parametrize("how", ["bilinear", "bilinear_aligned", "bicubic", "antialiased"])
def test_rows_of_a_resize_matrix(source, target, how):
    if how == "antialiased":
        units = torch.eye(source, dtype=torch.float64)[None, None]
        whole = F.interpolate(units, (target, source), mode="bilinear", antialias=True)[0, 0]
    else:
        whole = resize_matrix(source, target, how, torch.float64)
    for start, stop in (0, 1), (target // 3, target // 3 + 1), (target // 2, target), (0, target):
        used, matrix = resize_rows(source, target, how, slice(start, stop), torch.float64)
        found = torch.zeros(stop - start, source, dtype=torch.float64)
        found[:, used] = matrix
        assert torch.allclose(found, whole[start:stop], atol=1e-12)


GROWTH = """
import resource, sys, torch
from helpers.networks import Network, images
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.tasks.segmentation import SegmentationTask

torch.set_num_threads(1)
task = SegmentationTask(Network(100).float(), 100).eval()
view = Inference(tile=(80, 120), scales=(0.5, 1.2), flip=True)
peaks = []
for height in 600, 3000:
    with torch.inference_mode():
        task.predict_mask(images(1, height, 160), view)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not report the peak memory of a process")
def test_memory_does_not_grow_with_the_height():
    # With this limit, glibc returns freed tensors to the system at once, so that the peak is the memory in use.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    command = [sys.executable, "-c", GROWTH]
    output = subprocess.check_output(command, cwd=REPOSITORY / "tests", env=environment)
    # The larger image and its mask have 1.5 MB more. The score maps of all four views would have 32 MB more.
    assert int(output) < 30e6


@pytest.mark.parametrize(("classes", "dtype"), [(256, torch.uint8), (300, torch.int64)])
@torch.inference_mode()
def test_dtype_of_masks(classes, dtype):
    image, task = images(2, 40, 50), SegmentationTask(Network(classes), classes).eval()
    mask, expected = task.predict_mask(image), torch.cat([part.argmax(1) for _, part in task.log_probabilities(image)], 1)
    assert mask.dtype == dtype and torch.equal(mask.long(), expected)
    assert expected.max() > 200, "without large ids, this would not test if all fit"
