"""Crops that are centered on a pixel of a class."""

import pytest
import torch
from scipy.stats import chisquare
from torchvision import tv_tensors
from torchvision.transforms import v2

from refinenet_pl.datamodule.class_crop import ANY_CLASS, ClassCrop

VOID = 255
FILL = {tv_tensors.Image: 127, tv_tensors.Mask: VOID}


def numbered(mask: torch.Tensor, crop_class: int | None = None) -> dict:
    """A sample whose pixels are numbered in row-major order."""
    image = torch.arange(mask.numel(), dtype=torch.int32).reshape(1, *mask.shape).expand(3, -1, -1)
    sample = {"image": tv_tensors.Image(image), "mask": tv_tensors.Mask(mask), "name": "x"}
    return sample if crop_class is None else sample | {"crop_class": crop_class}


def areas() -> torch.Tensor:
    """Class 0 with 1 pixel, 1 with 12, 3 with the rest; no class 2."""
    mask = torch.full((20, 25), 3)
    mask[4:8] = VOID
    mask[12:15, 6:10] = 1
    mask[0, 24] = 0
    return mask


def test_class_is_sampled_uniformly_among_those_of_the_image():
    sample = numbered(areas(), ANY_CLASS)
    crop = ClassCrop((1, 1), FILL, VOID)  # the sampled pixel
    chosen = torch.cat([crop(sample)["mask"].flatten() for _ in range(1500)]).bincount(minlength=VOID + 1)
    assert chosen.sum() == chosen[[0, 1, 3]].sum() and chisquare(chosen[[0, 1, 3]]).pvalue > 0.01


def test_pixel_is_sampled_uniformly_in_the_class():
    sample = numbered(areas(), 1)
    numbers = torch.cat([ClassCrop((1, 1), FILL, VOID)(sample)["image"][0].flatten() for _ in range(1200)])
    pixels, counts = numbers.unique(return_counts=True)
    assert torch.equal(pixels, (areas().flatten() == 1).nonzero()[:, 0]) and chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    ("pixel", "start"),
    [((10, 12), (6, 9)), ((0, 0), (0, 0)), ((19, 24), (12, 19)), ((3, 2), (0, 0)), ((4, 24), (0, 19)), ((16, 22), (12, 19))],
)
def test_crop_is_centered_on_the_pixel_and_inside_the_image(pixel, start):
    mask = torch.ones(20, 25, dtype=torch.int64)
    mask[pixel] = 0
    sample = numbered(mask, 0)
    out = ClassCrop((8, 6), FILL, VOID)(sample)
    window = slice(start[0], start[0] + 8), slice(start[1], start[1] + 6)
    assert torch.equal(out["mask"], mask[window]) and (out["mask"] == 0).sum() == 1
    assert torch.equal(out["image"], sample["image"][(slice(None), *window)])
    assert isinstance(out["image"], tv_tensors.Image) and isinstance(out["mask"], tv_tensors.Mask)
    assert out.keys() == {"image", "mask", "name"} and "crop_class" in sample


def test_smaller_image_is_padded():
    mask = torch.ones(6, 25, dtype=torch.int64)
    mask[3, 20] = 0
    out = ClassCrop((10, 8), FILL, VOID)(numbered(mask, 0))
    rows = (out["mask"] != VOID).any(1).nonzero()[:, 0]
    assert out["mask"].shape == (10, 8) and len(rows) == 6
    assert torch.equal(out["mask"][rows], mask[:, 16:24])
    assert bool((out["image"][:, out["mask"] == VOID] == 127).all())


@pytest.mark.parametrize("crop_class", [None, 2, ANY_CLASS], ids=["none", "missing", "void"])
@pytest.mark.parametrize("size", [(8, 6), (30, 6)])
def test_crop_without_a_pixel_of_the_class_is_random(crop_class, size):
    mask = torch.full((20, 25), VOID) if crop_class == ANY_CLASS else areas()
    state = torch.get_rng_state()
    outs = [ClassCrop(size, FILL, VOID)(numbered(mask, crop_class)) for _ in range(20)]
    torch.set_rng_state(state)
    expected = [v2.RandomCrop(size, pad_if_needed=True, fill=FILL)(numbered(mask)) for _ in range(20)]
    assert all(torch.equal(one["image"], other["image"]) for one, other in zip(outs, expected, strict=True))
    assert all(torch.equal(one["mask"], other["mask"]) for one, other in zip(outs, expected, strict=True))
    assert len({int(out["image"][0].max()) for out in outs}) > 10
