"""Samples chosen by their classes: known shares, and the same batches on any number of processes and after interruptions."""

import itertools
from collections import Counter
from collections.abc import Callable
from math import exp

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare

from refinenet_pl.datamodule.class_crop import ANY_CLASS
from refinenet_pl.datamodule.class_samplers import ClassBalancedSampler, RareClassSampler, class_probabilities
from refinenet_pl.datamodule.loader import TrainingLoader, collate
from refinenet_pl.datamodule.samplers import TrainingSampler
from refinenet_pl.datamodule.transforms import AugmentedDataset, SampleKey, training_transform
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.scenes_values import ScenesDepth
from refinenet_pl.errors import DataError

SIDE, CROP, BLOB = 40, 8, 4
RARE = {5, 17, 41}


class Blobs(SegmentationDataset):
    """60 images of class 0; those of `RARE` have a small square of class 1. Class 2 does not occur."""

    title, source, license = "Blobs", "", ""
    split_sizes = {"train": 60}
    classes = Classes.numbered(3)

    def __init__(self):
        super().__init__(None, "train")

    def __len__(self) -> int:
        return 60

    def name(self, index: int) -> str:
        return f"{index}"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[0] = 255
        if index in RARE:
            mask[30 : 30 + BLOB, 10 : 10 + BLOB] = 1
        return np.random.default_rng(index).integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8), mask


def augmented(seed: int = 0) -> AugmentedDataset:
    return AugmentedDataset(Blobs(), training_transform((CROP, CROP), [1.0], True, 0.0, 255), seed)


def rounds(*arguments) -> ClassBalancedSampler:
    return ClassBalancedSampler(*arguments, min_images=20, max_images=30, images_per_class=5)


SAMPLERS = [ClassBalancedSampler, rounds, RareClassSampler]


def keys(build: Callable, batch: int = 4, world_size: int = 1, rank: int = 0, seed: int = 0, epoch: int = 0) -> list[SampleKey]:
    sampler = build(augmented(), batch, world_size, rank, seed)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


@pytest.mark.parametrize("build", SAMPLERS)
@pytest.mark.parametrize("world_size", [2, 4])
def test_batches_are_equal_on_any_number_of_processes(build, world_size):
    share = 8 // world_size
    for epoch in 0, 3:
        expected = keys(build, 8, epoch=epoch)
        ranks = [keys(build, 8, world_size, rank, epoch=epoch) for rank in range(world_size)]
        for batch, start in enumerate(range(0, len(ranks[0]), share)):
            together = list(itertools.chain(*(rank[start : start + share] for rank in ranks)))
            assert sorted(together) == sorted(expected[8 * batch : 8 * batch + 8])


@pytest.mark.parametrize("build", SAMPLERS)
def test_samples_depend_on_seed_and_epoch_only(build):
    state, first = torch.get_rng_state(), keys(build, seed=1, epoch=2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert keys(build, seed=1, epoch=2) == first
    assert len({tuple(keys(build, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert len(set(first)) == len(first) == len(keys(TrainingSampler)), "as many as uniform, all with their own augmentation"


@pytest.mark.parametrize("build", SAMPLERS)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_resumes_within_an_epoch(build, num_workers):
    def loader() -> TrainingLoader:
        dataset = augmented()
        loader = TrainingLoader(
            dataset, 4, sampler=build(dataset, 4, 1, 0, 0), collate_fn=collate, num_workers=num_workers,
            persistent_workers=num_workers > 0,
        )  # fmt: skip
        loader.sampler.set_epoch(1)
        return loader

    expected = [(batch["seeds"], batch["image"]) for batch in loader()]
    stopped = loader()
    before = [(batch["seeds"], batch["image"]) for batch in itertools.islice(stopped, 4)]
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    found = before + [(batch["seeds"], batch["image"]) for batch in resumed]
    assert len(found) == len(expected) == 15
    assert all(a == c and torch.equal(b, d) for (a, b), (c, d) in zip(found, expected, strict=True))


def contains_rare(sample: dict) -> bool:
    return bool((sample["mask"] == 1).any())


def test_half_of_the_crops_are_centered_on_the_rare_class():
    dataset, index = augmented(), min(RARE)
    mask = dataset.dataset[index]["mask"]
    others = (mask == 0).nonzero().tolist()
    starts = [[min(max(at - CROP // 2, 0), SIDE - CROP) for at in pixel] for pixel in others]
    by_chance = np.mean([bool((mask[row : row + CROP, column : column + CROP] == 1).any()) for row, column in starts])
    for crop_class, share in (ANY_CLASS, 0.5 + 0.5 * by_chance), (None, ((CROP + BLOB - 1) / (SIDE - CROP + 1)) ** 2):
        found = sum(contains_rare(dataset[SampleKey(epoch, index, 0, crop_class)]) for epoch in range(800))
        assert binomtest(found, 800, share).pvalue > 0.01
    assert all(contains_rare(dataset[SampleKey(epoch, index, 0, 1)]) for epoch in range(50))


def test_small_datasets_have_each_image_once_in_the_order_of_uniform():
    expected = [key._replace(crop_class=ANY_CLASS) for key in keys(TrainingSampler, epoch=2)]
    assert keys(ClassBalancedSampler, epoch=2) == expected


def test_each_of_the_authors_epochs_has_all_images_of_a_rare_class():
    for epoch in range(3):
        found = [key.sample for key in keys(rounds, epoch=epoch)]
        parts = [found[start : start + 20] for start in (0, 20, 40)]
        assert all(len(set(part)) == 20 and set(part) > RARE for part in parts)
        common = Counter(found)
        assert {common.pop(index) for index in RARE} == {3}
        assert set(common.values()) == {1} and len(common) == 51, "images that have not been used come first"


def test_max_images_of_one_of_the_authors_epochs():
    def build(*arguments) -> ClassBalancedSampler:
        return ClassBalancedSampler(*arguments, min_images=20, max_images=30, images_per_class=100)

    found = [key.sample for key in keys(build)]
    assert len(set(found[:30])) == len(set(found[30:])) == 30 and set(found[:30]) != set(found[30:])


def test_probabilities_of_classes():
    weights = [exp((1 - share) / 0.1) for share in (0.9, 0.1)]
    expected = [weights[0] / sum(weights), 0, weights[1] / sum(weights)]
    assert class_probabilities(np.array([90, 0, 10]), 0.1).tolist() == pytest.approx(expected)
    assert class_probabilities(np.array([1, 10**9]), 1e-6).tolist() == pytest.approx([1, 0])


def test_rare_classes_are_sampled_by_their_probability():
    sampler = RareClassSampler(augmented(), 4, 1, 0, 0, temperature=0.5)
    pixels = np.array([60 * (SIDE - 1) * SIDE - 3 * BLOB**2, 3 * BLOB**2, 0])
    found = []
    for epoch in range(40):
        sampler.set_epoch(epoch)
        found += list(sampler)
    classes = np.bincount([key.crop_class for key in found], minlength=3)
    expected = class_probabilities(pixels, 0.5).numpy() * len(found)
    assert classes[2] == 0 and chisquare(classes[:2], expected[:2]).pvalue > 0.01 and classes[1] > classes[0]
    images = Counter(key.sample for key in found if key.crop_class == 1)
    assert images.keys() == RARE and chisquare(list(images.values())).pvalue > 0.01
    assert all(contains_rare(augmented()[key]) for key in found[:60] if key.crop_class == 1)


def test_repeated_images_are_augmented_differently():
    dataset, index = augmented(), min(RARE)
    visits = [dataset[SampleKey(0, index, visit, ANY_CLASS)] for visit in range(3)]
    assert len({sample["seed"] for sample in visits}) == len({bytes(sample["image"].numpy()) for sample in visits}) == 3


@pytest.mark.parametrize("build", [ClassBalancedSampler, RareClassSampler])
def test_datasets_of_values_are_refused(build):
    dataset = AugmentedDataset(ScenesDepth(samples=4, size=64), torch.nn.Identity(), 0)
    with pytest.raises(DataError, match=r"data.sampler: ScenesDepth has no class per pixel.*use uniform"):
        build(dataset, 2, 1, 0, 0)
    with pytest.raises(DataError, match="this dataset has none"):
        dataset[SampleKey(0, 0, 0, ANY_CLASS)]


def test_options_out_of_range_are_refused():
    for refused in (
        lambda: ClassBalancedSampler(augmented(), 4, 1, 0, 0, min_images=3000),
        lambda: ClassBalancedSampler(augmented(), 4, 1, 0, 0, images_per_class=0),
        lambda: RareClassSampler(augmented(), 4, 1, 0, 0, temperature=0),
    ):
        with pytest.raises(ValueError, match="data.sampler: "):
            refused()
