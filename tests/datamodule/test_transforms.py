"""Augmentation of images and masks together."""

import pytest
import torch
import torch.nn.functional as F
from torchvision import tv_tensors

from refinenet_pl.datamodule.transforms import GRAY, RandomScale, training_transform

VOID = 255
# Distinct colors, none of them gray.
COLORS = torch.tensor([[10, 240, 60], [240, 20, 200], [30, 60, 250], [220, 220, 10], [20, 20, 20]], dtype=torch.uint8)


def blocks(height: int, width: int, block: int = 15, seed: int = 0) -> dict:
    """An image whose colors are given by the ids of its mask."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(len(COLORS), (-(-height // block), -(-width // block)), generator=generator)
    mask = ids.repeat_interleave(block, 0).repeat_interleave(block, 1)[:height, :width].contiguous()
    return {"image": tv_tensors.Image(COLORS[mask].permute(2, 0, 1)), "mask": tv_tensors.Mask(mask), "name": "x"}


def interior(mask: torch.Tensor, margin: int = 2) -> torch.Tensor:
    """Pixels with equal ids within `margin` pixels, without those near the border."""
    x = F.pad(mask[None, None].float(), (margin,) * 4, value=-1)
    window = 2 * margin + 1
    return (F.max_pool2d(x, window, 1) == -F.max_pool2d(-x, window, 1))[0, 0]


def colors_of(mask: torch.Tensor) -> torch.Tensor:
    table = torch.cat([COLORS, torch.full((1, 3), GRAY, dtype=torch.uint8)])
    return table[torch.where(mask == VOID, len(COLORS), mask)].permute(2, 0, 1).int()


@pytest.mark.parametrize("size", [(90, 120), (61, 97), (40, 150), (200, 80)], ids=["larger", "odd", "low", "narrow"])
def test_image_and_mask_are_transformed_together(size):
    transform, sample = training_transform((64, 72), [0.5, 0.7, 1.0, 1.3, 2.0], True, 0.0, VOID), blocks(*size)
    before = sample["image"].clone(), sample["mask"].clone()
    padded, different = 0, set()
    for _ in range(60):
        out = transform(sample)
        image, mask = out["image"].int(), out["mask"]
        assert image.shape == (3, 64, 72) and mask.shape == (64, 72) and out["name"] == "x"
        assert isinstance(out["image"], tv_tensors.Image) and out["image"].dtype == torch.uint8
        assert isinstance(mask, tv_tensors.Mask) and mask.dtype == torch.int64
        assert set(mask.unique().tolist()) <= {*range(len(COLORS)), VOID}
        inside = interior(mask)
        assert inside.float().mean() > 0.3
        assert int((image - colors_of(mask))[:, inside].abs().max()) <= 1
        # Padded after resizing, so that gray and void have the same sharp border.
        assert torch.equal((image == GRAY).all(0), mask == VOID)
        padded += int((mask == VOID).any())
        different.add(bytes(out["image"].numpy()))
    assert padded > 0 and len(different) > 40
    assert torch.equal(sample["image"], before[0]) and torch.equal(sample["mask"], before[1])


def test_scales_are_sampled_uniformly():
    scales = [0.7, 1.0, 1.3]
    sampled = [tuple(RandomScale(scales)(blocks(50, 81))["mask"].shape) for _ in range(150)]
    sizes = [(round(50 * scale), round(81 * scale)) for scale in scales]
    assert set(sampled) == set(sizes)
    assert all(sampled.count(size) > 25 for size in sizes)


@pytest.mark.parametrize(
    ("size", "scale", "resized"),
    [((50, 80), 1.0, (60, 96)), ((50, 80), 0.5, (30, 48)), ((70, 80), 1.0, (70, 80)), ((200, 100), 1.3, (234, 117))],
)
def test_short_edge_is_limited_before_scaling(size, scale, resized):
    out = RandomScale([scale], short_edge=(60, 90))(blocks(*size))
    assert out["mask"].shape == out["image"].shape[1:] == resized


@pytest.mark.parametrize("void", [11, 255])
def test_mask_gets_no_new_ids(void):
    mask = torch.randint(2, (50, 60)) * void
    sample = {"image": tv_tensors.Image(torch.zeros(3, 50, 60, dtype=torch.uint8)), "mask": tv_tensors.Mask(mask)}
    for scale in 0.7, 0.9, 1.1, 1.3:
        assert RandomScale([scale])(sample)["mask"].unique().tolist() == [0, void]
    assert training_transform((80, 80), [0.7], False, 0.0, void)(sample)["mask"].unique().tolist() == [0, void]


def test_mask_is_sampled_at_pixel_centers():
    # Downsampled by 3, each pixel is at the center of 3x3 pixels; rounding down would take the first of them.
    mask = torch.zeros(27, 36, dtype=torch.int64)
    mask[1::3, 1::3] = torch.arange(9 * 12).reshape(9, 12)
    image = tv_tensors.Image(torch.zeros(3, 27, 36, dtype=torch.uint8))
    out = RandomScale([1 / 3])({"image": image, "mask": tv_tensors.Mask(mask)})
    assert torch.equal(out["mask"], torch.arange(9 * 12).reshape(9, 12))


@pytest.mark.parametrize("scale", [0.7, 0.9, 1.1, 1.3])
def test_image_and_mask_are_aligned(scale):
    rows, columns = torch.meshgrid(torch.arange(150) // 10, torch.arange(170) // 10, indexing="ij")
    mask = (rows + columns) % 2
    sample = {"image": tv_tensors.Image((mask * 255).byte().expand(3, -1, -1)), "mask": tv_tensors.Mask(mask)}
    out = RandomScale([scale])(sample)
    # Colors mix only in pixels that an edge crosses.
    different = (out["image"][0].float() / 255 - out["mask"]).abs() > 0.5 + 1 / 255
    assert different.float().mean() < 0.005


@pytest.mark.parametrize("flip", [True, False])
def test_half_of_the_images_are_flipped(flip):
    sample, flipped = blocks(40, 50, seed=1), 0
    transform = training_transform((40, 50), [1.0], flip, 0.0, VOID)
    for _ in range(100):
        out = transform(sample)
        if torch.equal(out["mask"], sample["mask"]):
            assert torch.equal(out["image"], sample["image"])
        else:
            assert torch.equal(out["mask"], sample["mask"].flip(-1)) and torch.equal(out["image"], sample["image"].flip(-1))
            flipped += 1
    assert 30 < flipped < 70 if flip else flipped == 0


def test_small_image_is_padded_with_gray_and_void():
    sample = blocks(20, 30)
    out = training_transform((64, 72), [1.0], False, 0.0, VOID)(sample)
    rows, columns = torch.nonzero(out["mask"] != VOID, as_tuple=True)
    assert len(rows) == 20 * 30
    window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    assert torch.equal(out["mask"][window], sample["mask"])
    assert torch.equal(out["image"][(slice(None), *window)], sample["image"])
    assert bool((out["image"][:, out["mask"] == VOID] == GRAY).all()) and GRAY == 127


@pytest.mark.parametrize("color_jitter", [0.0, 0.4])
def test_color_jitter_changes_only_the_image(color_jitter):
    sample = blocks(64, 72)
    out = training_transform((64, 72), [1.0], False, color_jitter, VOID)(sample)
    assert torch.equal(out["mask"], sample["mask"])
    assert torch.equal(out["image"], sample["image"]) == (color_jitter == 0)
