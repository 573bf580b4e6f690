"""Tiled prediction of continuous values: the weights of tiles, and means with known answers."""

import pytest
import torch
from helpers.networks import images

from refinenet_pl.evaluation.tiles import Tiles
from refinenet_pl.evaluation.value_tiles import predict_in_tiles, ramps


def in_tiles(predict, image: torch.Tensor, tile: tuple[int, int], overlap: float = 0.5) -> torch.Tensor:
    size = tuple(image.shape[-2:])
    return predict_in_tiles(predict, lambda rows: image[..., rows, :], Tiles.over(size, tile, overlap), size)


def test_weights_are_linear_in_the_overlap():
    found = ramps([0, 40], 80)
    rising = (torch.arange(40, dtype=torch.float64) + 0.5) / 40
    assert torch.allclose(found[1], torch.cat([rising, torch.ones(40, dtype=torch.float64)]), rtol=1e-12)
    assert torch.equal(found[0], found[1].flip(0))


@pytest.mark.parametrize("starts", [[0], [0, 80], [0, 40, 80, 100], [0, 10, 20, 30, 35]])
def test_weights_add_up_to_one(starts):
    found, total, count = ramps(starts, 80), torch.zeros(starts[-1] + 80), torch.zeros(starts[-1] + 80)
    for start, weights in zip(starts, found, strict=True):
        total[start : start + 80] += weights
        count[start : start + 80] += 1
    assert torch.allclose(total, torch.ones_like(total)) and torch.equal(total[count == 1], torch.ones_like(total)[count == 1])


@pytest.mark.parametrize("size", [(80, 120), (61, 103)])
def test_tiles_that_differ_have_no_seam(size):
    # Two tiles of 80 columns over 120, the second of which predicts 1 more.
    numbers = iter([2.0, 3.0])
    found = in_tiles(lambda part: torch.full_like(part[:, :2], next(numbers)), images(1, *size), (80, 80))
    line = torch.cat([torch.zeros(40), (torch.arange(40) + 0.5) / 40, torch.ones(40)])[: size[1]] + 2
    assert torch.allclose(found, line.expand(1, 2, *size))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "overlap"), [((203, 310), 0.25), ((61, 503), 0.0), ((317, 41), 0.6), ((123, 170), 0.89)])
def test_equal_the_whole_image(dtype, size, overlap):
    image = images(2, *size)
    found = in_tiles(lambda part: part.to(dtype), image, (80, 120), overlap)
    assert found.dtype == dtype
    torch.testing.assert_close(found, image.to(dtype), rtol=1e-6, atol=0)


def test_edge_tiles_repeat_the_edge_of_the_image():
    image = images(1, 90, 50)
    parts = []
    in_tiles(lambda part: (parts.append(part), part)[1], image, (80, 80))
    assert [tuple(part.shape) for part in parts] == [(1, 3, 80, 80)] * 2
    assert torch.equal(parts[1][..., :50, :50], image[..., 40:, :].float())
    corner = image[..., -1:, -1:].float()
    assert torch.equal(parts[1][..., 50:, 50:], corner.expand(1, 3, 30, 30))
