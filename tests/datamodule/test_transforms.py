"""Augmentation keeps picture and mask in step."""

import pytest
import torch
import torch.nn.functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from refinenet_pl.datamodule.transforms import RandomScale, training_transform

VOID = 255
GREY = 127
# Far apart, and none of them grey.
COLOURS = torch.tensor([[10, 240, 60], [240, 20, 200], [30, 60, 250], [220, 220, 10], [20, 20, 20]], dtype=torch.uint8)


def blocks(height: int, width: int, block: int = 15, seed: int = 0) -> dict:
    """A picture whose colours say the ids of its mask."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(len(COLOURS), (-(-height // block), -(-width // block)), generator=generator)
    mask = ids.repeat_interleave(block, 0).repeat_interleave(block, 1)[:height, :width].contiguous()
    return {"image": tv_tensors.Image(COLOURS[mask].permute(2, 0, 1)), "mask": tv_tensors.Mask(mask), "name": "x"}


def interior(mask: torch.Tensor, margin: int = 2) -> torch.Tensor:
    """Where everything within `margin` pixels has the same id; never at the edge, for beyond it may lie another."""
    x = F.pad(mask[None, None].float(), (margin,) * 4, value=-1)
    window = 2 * margin + 1
    return (F.max_pool2d(x, window, 1) == -F.max_pool2d(-x, window, 1))[0, 0]


def colours_of(mask: torch.Tensor) -> torch.Tensor:
    table = torch.cat([COLOURS, torch.full((1, 3), GREY, dtype=torch.uint8)])
    return table[torch.where(mask == VOID, len(COLOURS), mask)].permute(2, 0, 1).int()


@pytest.mark.parametrize("size", [(90, 120), (61, 97), (40, 150)], ids=["larger", "odd", "padded"])
def test_picture_and_mask_stay_in_step(size):
    transform = training_transform((64, 72), [0.5, 0.7, 1.0, 1.3, 2.0], True, 0.0, VOID)
    sample = blocks(*size)
    torch.manual_seed(0)
    padded = 0
    for _ in range(60):
        out = transform(sample)
        image, mask = out["image"].int(), out["mask"]
        assert image.shape == (3, 64, 72) and mask.shape == (64, 72) and out["name"] == "x"
        assert set(mask.unique().tolist()) <= {*range(len(COLOURS)), VOID}
        inside = interior(mask)
        assert inside.float().mean() > 0.3
        assert int((image - colours_of(mask))[:, inside].abs().max()) <= 1
        # Padding is filled after resizing: grey and void meet exactly, without a blurred edge.
        assert torch.equal((image == GREY).all(0), mask == VOID)
        padded += int((mask == VOID).any())
    assert padded > 0


def test_augmentation_varies():
    transform = training_transform((64, 72), [0.7, 1.3], True, 0.0, VOID)
    torch.manual_seed(0)
    assert len({bytes(transform(blocks(90, 120))["image"].numpy()) for _ in range(20)}) > 15


def test_input_is_not_written_to():
    sample = blocks(40, 50)
    image, mask = sample["image"].clone(), sample["mask"].clone()
    for _ in range(5):
        training_transform((64, 64), [0.7, 1.0], True, 0.5, VOID)(sample)
    assert torch.equal(sample["image"], image) and torch.equal(sample["mask"], mask)


def test_every_scale_of_the_set_is_drawn_and_no_other():
    scales = [0.7, 1.0, 1.3]
    torch.manual_seed(0)
    drawn = [tuple(RandomScale(scales)(blocks(50, 81))["mask"].shape) for _ in range(150)]
    sizes = [(round(50 * scale), round(81 * scale)) for scale in scales]
    assert set(drawn) == set(sizes)
    assert all(drawn.count(size) > 25 for size in sizes)  # evenly: 50 each


@pytest.mark.parametrize(
    ("size", "scale", "resized"),
    [((50, 80), 1.0, (60, 96)), ((50, 80), 0.5, (30, 48)), ((70, 80), 1.0, (70, 80)), ((200, 100), 1.3, (234, 117))],
)
def test_short_edge_is_brought_within_limits_before_the_scale(size, scale, resized):
    out = RandomScale([scale], short_edge=(60, 90))(blocks(*size))
    assert out["mask"].shape == out["image"].shape[1:] == resized


def test_scaling_by_one_changes_nothing():
    sample = blocks(33, 44)
    out = RandomScale([1.0])(sample)
    assert torch.equal(out["image"], sample["image"]) and torch.equal(out["mask"], sample["mask"])


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.3, 2.0])
def test_types_survive(scale):
    out = RandomScale([scale])(blocks(30, 40))
    assert isinstance(out["image"], tv_tensors.Image) and out["image"].dtype == torch.uint8
    assert isinstance(out["mask"], tv_tensors.Mask) and out["mask"].dtype == torch.int64
    assert out["name"] == "x"


@pytest.mark.parametrize("void", [11, 255])
def test_mask_gets_no_id_that_was_not_there(void):
    mask = torch.randint(2, (50, 60)) * void
    sample = {"image": tv_tensors.Image(torch.zeros(3, 50, 60, dtype=torch.uint8)), "mask": tv_tensors.Mask(mask)}
    for scale in 0.7, 0.9, 1.1, 1.3:
        assert RandomScale([scale])(sample)["mask"].unique().tolist() == [0, void]
    padded = training_transform((80, 80), [0.7], False, 0.0, void)(sample)
    assert padded["mask"].unique().tolist() == [0, void]


def test_mask_is_sampled_at_pixel_centres():
    # Shrunk to a third, each pixel of the result lies on the middle one of three by three. Rounding down takes the first.
    mask = torch.zeros(27, 36, dtype=torch.int64)
    mask[1::3, 1::3] = torch.arange(9 * 12).reshape(9, 12)
    image = tv_tensors.Image(torch.zeros(3, 27, 36, dtype=torch.uint8))
    out = RandomScale([1 / 3])({"image": image, "mask": tv_tensors.Mask(mask)})
    assert torch.equal(out["mask"], torch.arange(9 * 12).reshape(9, 12))


@pytest.mark.parametrize("scale", [0.7, 0.9, 1.1, 1.3])
def test_checkerboards_of_picture_and_mask_are_not_shifted_against_each_other(scale):
    rows, columns = torch.meshgrid(torch.arange(150) // 10, torch.arange(170) // 10, indexing="ij")
    mask = (rows + columns) % 2
    sample = {"image": tv_tensors.Image((mask * 255).byte().expand(3, -1, -1)), "mask": tv_tensors.Mask(mask)}
    out = RandomScale([scale])(sample)
    white = out["image"][0].float() / 255
    # Rows of one colour mix where an edge runs through a pixel; beyond that the two must agree, also next to edges.
    wrong = (white - out["mask"]).abs() > 0.5 + 1 / 255
    assert wrong.float().mean() < 0.005


@pytest.mark.parametrize("flip", [True, False])
def test_flip_mirrors_both_in_half_of_the_cases(flip):
    sample = blocks(40, 50, seed=1)
    transform = training_transform((40, 50), [1.0], flip, 0.0, VOID)
    torch.manual_seed(0)
    mirrored = 0
    for _ in range(100):
        out = transform(sample)
        if torch.equal(out["mask"], sample["mask"]):
            assert torch.equal(out["image"], sample["image"])
        else:
            assert torch.equal(out["mask"], sample["mask"].flip(-1)) and torch.equal(out["image"], sample["image"].flip(-1))
            mirrored += 1
    assert 30 < mirrored < 70 if flip else mirrored == 0


@pytest.mark.parametrize("size", [(20, 30), (200, 30), (64, 72), (63, 200)])
@pytest.mark.parametrize("color_jitter", [0.0, 0.4])
def test_output_always_has_the_crop_size(size, color_jitter):
    transform = training_transform((64, 72), [0.7, 1.3], True, color_jitter, VOID)
    for _ in range(5):
        out = transform(blocks(*size))
        assert out["image"].shape == (3, 64, 72) and out["mask"].shape == (64, 72)


def test_small_picture_is_kept_whole_between_grey_and_void():
    sample = blocks(20, 30)
    out = training_transform((64, 72), [1.0], False, 0.0, VOID)(sample)
    assert int((out["mask"] != VOID).sum()) == 20 * 30
    rows, columns = torch.nonzero(out["mask"] != VOID, as_tuple=True)
    window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    assert torch.equal(out["mask"][window], sample["mask"])
    assert torch.equal(out["image"][(slice(None), *window)], sample["image"])
    assert bool((out["image"][:, out["mask"] == VOID] == GREY).all())


def test_colour_jitter_changes_the_picture_alone():
    sample = blocks(64, 72)
    torch.manual_seed(0)
    out = training_transform((64, 72), [1.0], False, 0.4, VOID)(sample)
    assert torch.equal(out["mask"], sample["mask"]) and not torch.equal(out["image"], sample["image"])
    steps = training_transform((64, 72), [1.0], False, 0.0, VOID).transforms
    assert not any(isinstance(step, v2.ColorJitter) for step in steps)
