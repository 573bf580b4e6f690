"""Scenes: reproducible images that require distant context and sharp outlines."""

import hashlib

import numpy as np
import pytest
import torch

from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import DataError

VOID = Scenes.classes.ignore_index
NAMES = Scenes.classes.names
ID = {name: label for label, name in enumerate(NAMES)}


def rendered(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images and masks of a split, uint8 (count, 128, 128, 3) and (count, 128, 128)."""
    data = Scenes(split=split)
    images, masks = zip(*(data.read(index) for index in range(count)), strict=True)
    return np.stack(images), np.stack(masks)


@pytest.fixture(scope="module")
def train():
    return rendered("train", 240)


@pytest.fixture(scope="module")
def val():
    return rendered("val", 120)


def digest(data: Scenes, index: int) -> str:
    image, mask = data.read(index)
    return hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest()


def differs_from_neighbors(mask: np.ndarray) -> np.ndarray:
    """True if one of the eight neighbors has another id, bool (..., height, width)."""
    x = torch.from_numpy(mask).float().reshape(-1, 1, *mask.shape[-2:])
    largest = torch.nn.functional.max_pool2d(x, 3, 1, 1)
    smallest = -torch.nn.functional.max_pool2d(-x, 3, 1, 1)
    return (largest != smallest).reshape(mask.shape).numpy()


def distances(pixels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances between positions (N, 2) and (M, 2), (N, M)."""
    return np.hypot(*(pixels[:, None] - others[None]).transpose(2, 0, 1))


def test_images_are_reproducible():
    data = Scenes(size=96, seed=3)
    forward = [digest(data, index) for index in range(4)]
    assert [digest(data, index) for index in (3, 2, 1, 0)] == forward[::-1]
    assert [digest(Scenes(size=96, seed=3, samples=4), index) for index in range(4)] == forward


def test_repeated_images_are_independent_copies():
    data = Scenes(size=96)
    first = digest(data, 0)
    image, mask = data.read(0)
    image[:], mask[:] = 0, 0
    assert digest(data, 0) == first


def test_large_images_are_not_kept():
    data = Scenes(size=512)
    data.read(0)
    assert not data._rendered


def test_images_are_distinct(train, val):
    variants = [Scenes(split=split, seed=seed, samples=10) for split in Scenes.split_sizes for seed in (0, 1)]
    digests = [digest(data, index) for data in variants for index in range(10)]
    assert len(set(digests)) == len(digests) == 60
    masks = [mask.tobytes() for _, split in (train, val) for mask in split]
    assert len(set(masks)) == len(masks)


@pytest.mark.parametrize("size", [64, 101, 128, 256])
@pytest.mark.parametrize("split", Scenes.split_sizes)
def test_samples(size, split):
    data = Scenes("anywhere", split, size=size)
    for index in range(12):
        image, mask = data.read(index)
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == (size, size, 3) and mask.shape == (size, size)
        assert set(np.unique(mask)) <= {*range(len(NAMES)), VOID}
        assert image.std() > 10
    sample = data[0]
    assert sample["image"].shape == (3, size, size) and sample["mask"].dtype == torch.int64
    assert sample["name"] == f"{split}_00000"


def test_length():
    assert {split: len(Scenes(split=split)) for split in Scenes.split_sizes} == Scenes.split_sizes
    data = Scenes(split="val", samples=3)
    assert len(list(data)) == len(data) == 3
    assert data.name(-1) == "val_00002" and digest(data, -1) == digest(data, 2)
    for method in data.read, data.name:
        with pytest.raises(IndexError):
            method(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "training"}, "no split 'training'"),
        ({"size": 63}, "size: 63 "),
        ({"size": 64.0}, "size: 64.0 "),
        ({"samples": 0}, "samples: "),
        ({"seed": -1}, "seed: -1"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(DataError, match=message):
        Scenes(**options)


def test_frequency_of_each_class(train):
    masks = train[1]
    for name, label in ID.items():
        assert 0.007 <= (masks == label).mean() <= 0.45, name
        assert (masks == label).any((1, 2)).mean() >= 0.4, name


def test_void_is_a_thin_line_around_objects(train):
    masks = train[1]
    void = masks == VOID
    assert 0.01 < void.mean() < 0.08
    assert void.any((1, 2)).all()
    # Lines meet, so that a few pixels are surrounded by void.
    assert (void & ~differs_from_neighbors(masks)).sum() < 0.01 * void.sum()
    ground = np.isin(masks, [ID["sky"], ID["meadow"], ID["crop"], ID["road"], ID["river"]])
    for name in "building", "tree", "ball", "lamp", "flag":
        thing = masks == ID[name]
        touching = (thing[:, :, 1:] & ground[:, :, :-1]) | (thing[:, :, :-1] & ground[:, :, 1:])
        assert touching.sum() == 0, name


def test_poles_are_thin_and_not_void(train):
    masks = train[1]
    assert differs_from_neighbors(masks)[masks == ID["pole"]].mean() > 0.95


def test_outlines_are_sharp():
    """Colors change within the void line of a ball."""
    across, inside = [], []
    for index in range(60):
        image, mask = Scenes().read(index)
        ball = (mask == ID["ball"]) | (mask == ID["lamp"])
        ground = (mask == ID["meadow"]) | (mask == ID["crop"])
        gray = image.astype(float).mean(-1)
        change = np.abs(gray[:, :-2] - gray[:, 2:])
        across += change[ball[:, :-2] & (mask[:, 1:-1] == VOID) & ground[:, 2:]].tolist()
        inside += change[ball[:, :-2] & ball[:, 2:]].tolist()
    assert np.mean(across) > 2 * np.mean(inside)


def test_color_of_single_pixels_is_insufficient(train, val):
    """Predict the class that has the color, one of 16x16x16, in the largest fraction of its pixels."""
    counts = np.zeros((16, 16, 16, VOID + 1))
    np.add.at(counts, (*np.moveaxis(train[0] // 16, -1, 0), train[1]), 1)
    best = (counts / counts.sum((0, 1, 2)).clip(1))[..., : len(NAMES)].argmax(-1)
    guess = best[tuple(np.moveaxis(val[0] // 16, -1, 0))]
    overlap = [((guess == label) & (val[1] == label)).sum() for label in ID.values()]
    union = [(((guess == label) & (val[1] != VOID)) | (val[1] == label)).sum() for label in ID.values()]
    assert 0.02 < np.mean(np.divide(overlap, union)) < 0.35


@pytest.mark.parametrize("pair", [("ball", "lamp"), ("road", "river"), ("meadow", "crop")])
def test_paired_classes_have_the_same_colors(train, pair):
    """Mean and standard deviation of the two differ no more than by chance."""
    statistics = []
    for name in pair:
        inside = [image[mask == ID[name]] for image, mask in zip(*train, strict=True) if (mask == ID[name]).sum() > 40]
        statistics.append(np.array([[*pixels.mean(0), *pixels.std(0)] for pixels in inside]))
    a, b = statistics
    error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
    difference = np.abs(a.mean(0) - b.mean(0))
    assert (difference < 4 * error).all() and (difference < 12).all()


def test_meadow_and_crop_differ_in_texture(train):
    """Four pixels are about half a period of rows of plants, but not of the wider lumps, so that rows change more."""
    change = {}
    for name in "meadow", "crop":
        steps = []
        for image, mask in zip(*train, strict=True):
            gray = image.astype(float).mean(-1)
            inside = (mask == ID[name])[:, :-4] & (mask == ID[name])[:, 4:]
            steps.append(np.abs(gray[:, 4:] - gray[:, :-4])[inside].mean() if inside.any() else np.nan)
        change[name] = np.nanmean(steps)
    assert change["crop"] > 1.1 * change["meadow"]


def test_only_the_sun_or_moon_distinguishes_ball_from_lamp():
    """It changes the class of every ball, and no pixel within 40 pixels of one."""
    for index in range(30):
        day, day_mask = Scenes().render(index, night=False)
        moon, moon_mask = Scenes().render(index, night=True)
        assert (day_mask == ID["ball"]).any() and not (day_mask == ID["lamp"]).any()
        assert (np.where(day_mask == ID["ball"], ID["lamp"], day_mask) == moon_mask).all()
        changed = np.argwhere((day != moon).any(-1))
        assert 20 < len(changed) < 400
        assert distances(changed, np.argwhere(day_mask == ID["ball"])).min() >= 40


def test_only_the_flags_distinguish_road_from_river():
    """Their color changes the class of every road and only pixels of flags, which are far from most of the road."""
    nearest = []
    for index in range(30):
        blue, blue_mask = Scenes().render(index, red=False)
        red, red_mask = Scenes().render(index, red=True)
        assert (blue_mask == ID["road"]).any() and not (blue_mask == ID["river"]).any()
        assert (np.where(blue_mask == ID["road"], ID["river"], blue_mask) == red_mask).all()
        changed = np.argwhere((blue != red).any(-1))
        labels = blue_mask[tuple(changed.T)]
        assert np.isin(labels, [ID["flag"], ID["pole"], VOID, ID["sky"]]).all() and (labels == ID["flag"]).sum() > 20
        nearest.append(distances(changed, np.argwhere(blue_mask == ID["road"])).min(0))
    assert (np.concatenate(nearest) >= 40).mean() > 0.7


def test_read_renders_one_of_the_four_contexts():
    data = Scenes()
    seen = set()
    for index in range(20):
        image, mask = data.read(index)
        night, red = bool((mask == ID["lamp"]).any()), bool((mask == ID["river"]).any())
        again, mask_again = data.render(index, night=night, red=red)
        assert (again == image).all() and (mask_again == mask).all()
        seen.add((night, red))
    assert len(seen) == 4


def test_objects_vary_in_size(train):
    for name in "building", "ball":
        masks = train[1] == ID[name]
        widths = masks.any(1).sum(1)[masks.any((1, 2))]
        small, large = np.percentile(widths, (5, 95))
        assert large > 2 * small, name
