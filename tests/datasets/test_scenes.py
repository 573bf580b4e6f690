"""The drawn pictures keep what they promise: the same for everyone, and only solved by looking far and sharply."""

import hashlib

import numpy as np
import pytest
import torch

from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import DataError

VOID = Scenes.classes.ignore_index
NAMES = Scenes.classes.names
ID = {name: label for label, name in enumerate(NAMES)}


def drawn(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pictures and masks of a split, uint8 (count, 128, 128, 3) and (count, 128, 128)."""
    data = Scenes(split=split)
    images, masks = zip(*(data.read(index) for index in range(count)), strict=True)
    return np.stack(images), np.stack(masks)


@pytest.fixture(scope="module")
def train():
    return drawn("train", 240)


@pytest.fixture(scope="module")
def val():
    return drawn("val", 120)


def digest(data: Scenes, index: int) -> str:
    image, mask = data.read(index)
    return hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest()


def neighbours_differ(mask: np.ndarray) -> np.ndarray:
    """Where one of the eight neighbours has another id, bool (..., height, width)."""
    x = torch.from_numpy(mask).float().reshape(-1, 1, *mask.shape[-2:])
    largest = torch.nn.functional.max_pool2d(x, 3, 1, 1)
    smallest = -torch.nn.functional.max_pool2d(-x, 3, 1, 1)
    return (largest != smallest).reshape(mask.shape).numpy()


def test_a_picture_is_the_same_in_any_order_and_object():
    data = Scenes(size=96, seed=3)
    forward = [digest(data, index) for index in range(4)]
    assert [digest(data, index) for index in (3, 2, 1, 0)] == forward[::-1]
    assert [digest(Scenes(size=96, seed=3, samples=4), index) for index in range(4)] == forward


def test_splits_seeds_and_indices_share_no_picture():
    variants = [Scenes(split=split, seed=seed, samples=10) for split in Scenes.split_sizes for seed in (0, 1)]
    digests = [digest(data, index) for data in variants for index in range(10)]
    assert len(set(digests)) == len(digests) == 60


def test_no_two_masks_of_train_and_val_are_equal(train, val):
    masks = [mask.tobytes() for _, split in (train, val) for mask in split]
    assert len(set(masks)) == len(masks)


@pytest.mark.parametrize("size", [64, 101, 128, 256])
@pytest.mark.parametrize("split", Scenes.split_sizes)
def test_contract(size, split):
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


def test_length_and_end():
    assert {split: len(Scenes(split=split)) for split in Scenes.split_sizes} == Scenes.split_sizes
    data = Scenes(split="val", samples=3)
    assert len(list(data)) == len(data) == 3
    assert data.name(-1) == "val_00002" and digest(data, -1) == digest(data, 2)
    for ask in data.read, data.name:
        with pytest.raises(IndexError):
            ask(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "training"}, "no split 'training'.*train, val, test"),
        ({"size": 63}, "size of 63 pixels.*64 or more"),
        ({"samples": 0}, "split of 0 pictures.*1 or more"),
        ({"seed": -1}, "seed -1.*0 or more"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(DataError, match=message):
        Scenes(**options)


def test_every_class_is_frequent_enough(train):
    masks = train[1]
    for name, label in ID.items():
        share = (masks == label).mean()
        assert 0.007 <= share <= 0.45, f"{name} covers {share:.4f}"
        present = (masks == label).any((1, 2)).mean()
        assert present >= 0.4, f"{name} is in {present:.2f} of the pictures"


def test_void_is_a_thin_line_between_things_and_others(train):
    masks = train[1]
    void = masks == VOID
    assert 0.01 < void.mean() < 0.08
    assert void.any((1, 2)).all()
    # Lines meet, so a few pixels have void all around.
    assert (void & ~neighbours_differ(masks)).sum() < 0.01 * void.sum()
    for name in "building", "tree", "ball", "lamp", "flag":
        # A thing's outline is void, up to its diagonal corners and the poles in front of it.
        ground = np.isin(masks, [ID["sky"], ID["meadow"], ID["crop"], ID["road"], ID["river"]])
        thing = masks == ID[name]
        touching = (thing[:, :, 1:] & ground[:, :, :-1]) | (thing[:, :, :-1] & ground[:, :, 1:])
        assert touching.sum() == 0, name


def test_poles_are_thin_and_not_void(train):
    masks = train[1]
    pole = masks == ID["pole"]
    assert neighbours_differ(masks)[pole].mean() > 0.95


def test_outlines_are_sharp():
    """Colour jumps at a ball's outline within the void line: the pictures are not blurred against their masks."""
    steps = {"across the outline": [], "inside": []}
    for index in range(60):
        image, mask = Scenes().read(index)
        ball = (mask == ID["ball"]) | (mask == ID["lamp"])
        grey = image.astype(float).mean(-1)
        ground = (mask == ID["meadow"]) | (mask == ID["crop"])
        outline = ball[:, :-2] & (mask[:, 1:-1] == VOID) & ground[:, 2:]
        steps["across the outline"] += np.abs(grey[:, :-2] - grey[:, 2:])[outline].tolist()
        steps["inside"] += np.abs(grey[:, :-2] - grey[:, 2:])[ball[:, :-2] & ball[:, 2:]].tolist()
    assert np.mean(steps["across the outline"]) > 2 * np.mean(steps["inside"])


def nearest_mean(images: np.ndarray, masks: np.ndarray):
    """Guesses the class whose mean colour is nearest."""
    means = np.stack([images[masks == label].mean(0) for label in range(len(NAMES))]).astype(np.float32)
    return lambda image: np.square(image[..., None, :] - means).sum(-1).argmin(-1)


def likeliest(images: np.ndarray, masks: np.ndarray):
    """Guesses the class that has the colour, one of 16x16x16, for the largest part of its pixels."""
    counts = np.zeros((16, 16, 16, VOID + 1))
    np.add.at(counts, (*np.moveaxis(images // 16, -1, 0), masks), 1)
    best = (counts / counts.sum((0, 1, 2)).clip(1))[..., : len(NAMES)].argmax(-1)
    return lambda image: best[tuple(np.moveaxis(image // 16, -1, 0))]


@pytest.mark.parametrize("fit", [nearest_mean, likeliest])
def test_colour_alone_does_not_solve_it(train, val, fit):
    """What sees one pixel at a time stays far from what the network must reach."""
    guess = fit(*train)
    confusion = np.zeros((len(NAMES), len(NAMES)))
    for image, mask in zip(*val, strict=True):
        valid = mask != VOID
        confusion += np.bincount(mask[valid] * len(NAMES) + guess(image)[valid], minlength=confusion.size).reshape(
            confusion.shape
        )
    hits = np.diag(confusion)
    miou = (hits / (confusion.sum(0) + confusion.sum(1) - hits)).mean()
    assert 0.02 < miou < 0.35


@pytest.mark.parametrize(("one", "other"), [("ball", "lamp"), ("road", "river"), ("meadow", "crop")])
def test_colours_of_a_pair_are_the_same(train, one, other):
    """Mean and spread differ between the two by less than pictures of one and the same class do by chance."""
    statistics = {}
    for name in one, other:
        inside = [image[mask == ID[name]] for image, mask in zip(*train, strict=True) if (mask == ID[name]).sum() > 40]
        statistics[name] = np.array([[*pixels.mean(0), *pixels.std(0)] for pixels in inside])
    a, b = statistics.values()
    error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
    assert (np.abs(a.mean(0) - b.mean(0)) < 4 * error).all()
    assert (np.abs(a.mean(0) - b.mean(0)) < 12).all()


def test_meadow_and_crop_differ_in_texture(train):
    """Rows of plants change faster from pixel to pixel than lumps do; without that nothing would tell the two apart."""
    change = {}
    for name in "meadow", "crop":
        steps = []
        for image, mask in zip(*train, strict=True):
            # Four pixels are about half of a row's period, where rows change most and lumps, which are wider, do not yet.
            grey = image.astype(float).mean(-1)
            inside = (mask == ID[name])[:, :-4] & (mask == ID[name])[:, 4:]
            steps.append(np.abs(grey[:, 4:] - grey[:, :-4])[inside].mean() if inside.any() else np.nan)
        change[name] = np.array(steps)
    assert np.nanmean(change["crop"]) > 1.1 * np.nanmean(change["meadow"])


def test_only_the_sun_or_moon_tells_ball_from_lamp():
    """Swapping it renames every ball, and changes no pixel within 40 of one."""
    for index in range(30):
        day, day_mask = Scenes().draw(index, night=False)
        moon, moon_mask = Scenes().draw(index, night=True)
        assert (day_mask == ID["ball"]).any() and not (day_mask == ID["lamp"]).any()
        assert (np.where(day_mask == ID["ball"], ID["lamp"], day_mask) == moon_mask).all()
        changed = np.argwhere((day != moon).any(-1))
        balls = np.argwhere(day_mask == ID["ball"])
        # Few pixels change, and the cue can be seen.
        assert 20 < len(changed) < 400
        assert np.hypot(*(changed[:, None] - balls[None]).transpose(2, 0, 1)).min() >= 40


def test_only_the_flags_tell_road_from_river():
    """Swapping their colour renames every road and changes nothing but flags, far from most of the road."""
    distances = []
    for index in range(30):
        blue, blue_mask = Scenes().draw(index, red=False)
        red, red_mask = Scenes().draw(index, red=True)
        assert (blue_mask == ID["road"]).any() and not (blue_mask == ID["river"]).any()
        assert (np.where(blue_mask == ID["road"], ID["river"], blue_mask) == red_mask).all()
        changed = np.argwhere((blue != red).any(-1))
        assert np.isin(blue_mask[tuple(changed.T)], [ID["flag"], ID["pole"], VOID, ID["sky"]]).all()
        assert (blue_mask[tuple(changed.T)] == ID["flag"]).sum() > 20
        road = np.argwhere(blue_mask == ID["road"])
        distances.append(np.hypot(*(changed[:, None] - road[None]).transpose(2, 0, 1)).min(0))
    assert (np.concatenate(distances) >= 40).mean() > 0.7


def test_the_picture_keeps_its_own_surroundings():
    """A picture read is one of the four that can be drawn of it, and all four occur."""
    data = Scenes()
    seen = set()
    for index in range(20):
        image, mask = data.read(index)
        night, red = bool((mask == ID["lamp"]).any()), bool((mask == ID["river"]).any())
        again, mask_again = data.draw(index, night=night, red=red)
        assert (again == image).all() and (mask_again == mask).all()
        seen.add((night, red))
    assert len(seen) == 4


def test_things_come_in_several_sizes(train):
    """The largest buildings and balls are several times as wide as the smallest."""
    for name in "building", "ball":
        masks = train[1] == ID[name]
        widths = masks.any(1).sum(1)[masks.any((1, 2))]
        small, large = np.percentile(widths, (5, 95))
        assert large > 2 * small, name
