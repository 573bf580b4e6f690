"""Samples of each process and batch, and reproducible augmentation."""

import itertools

import pytest
import torch
from torch.utils.data import BatchSampler, Dataset
from torchvision import tv_tensors

from refinenet_pl.datamodule.loader import TrainingLoader, collate
from refinenet_pl.datamodule.samplers import EvaluationSampler, TrainingSampler, device_batch
from refinenet_pl.datamodule.transforms import AugmentedDataset, SampleKey, training_transform
from refinenet_pl.errors import DataError
from refinenet_pl.seeds import derive_seed

SIZE, BATCH = 30, 8


def order(world_size: int = 1, rank: int = 0, seed: int = 0, epoch: int = 0) -> list[SampleKey]:
    sampler = TrainingSampler(range(SIZE), BATCH, world_size, rank, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def global_batches(world_size: int, epoch: int) -> list[set[int]]:
    """Samples of each batch over all processes."""
    share = BATCH // world_size
    ranks = [[key.sample for key in order(world_size, rank, epoch=epoch)] for rank in range(world_size)]
    starts = range(0, len(ranks[0]), share)
    batches = [list(itertools.chain(*(rank[start : start + share] for rank in ranks))) for start in starts]
    assert all(len(set(batch)) == len(batch) == BATCH for batch in batches)
    return [set(batch) for batch in batches]


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_batches_are_equal_on_any_number_of_processes(world_size, epoch):
    assert global_batches(world_size, epoch) == global_batches(1, epoch)


def test_order_depends_on_seed_and_epoch_only():
    orders = {tuple(key.sample for key in order(seed=seed, epoch=epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16
    state, first = torch.get_rng_state(), order(seed=1, epoch=2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert order(seed=1, epoch=2) == first
    assert {key.epoch for key in order(2, 1, epoch=5)} == {5}
    assert {key.sample for epoch in range(20) for key in order(epoch=epoch)} == set(range(SIZE))


@pytest.mark.parametrize(("size", "batch", "world_size"), [(30, 8, 1), (30, 8, 2), (32, 8, 4), (8, 8, 8), (9, 2, 2), (7, 1, 1)])
def test_incomplete_batch_is_dropped(size, batch, world_size):
    samplers = [TrainingSampler(range(size), batch, world_size, rank, 0) for rank in range(world_size)]
    samples = [key.sample for sampler in samplers for key in sampler]
    assert len(samples) == len(set(samples)) == sum(map(len, samplers)) == size // batch * batch
    assert len(set(map(len, samplers))) == 1 and set(samples) <= set(range(size))


@pytest.mark.parametrize(("processes", "accumulation", "batch"), [(1, 1, 8), (2, 1, 4), (2, 2, 2), (1, 8, 1)])
def test_device_batch(processes, accumulation, batch):
    assert device_batch(8, processes, accumulation) == batch


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: device_batch(8, 3, 1), "global batch of 8 cannot be divided among 3 processes"),
        (lambda: device_batch(8, 16, 1), "8 / 16 = 0.50"),
        (lambda: device_batch(8, 2, 3), "2 processes x 3 accumulated batches"),
        (lambda: TrainingSampler(range(7), 8, 1, 0, 0), "7 samples, fewer than one batch of 8"),
        (lambda: EvaluationSampler(range(5), 2, 4, 0), "3 batches, too few for 4 processes"),
    ],
)
def test_impossible_batches_are_refused(refused, message):
    with pytest.raises(DataError, match=message):
        refused()


@pytest.mark.parametrize("size", [4, 7, 12, 13])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_evaluation_has_each_sample_once_in_the_same_batches(size, batch, world_size):
    samplers = [EvaluationSampler(range(size), batch, world_size, rank) for rank in range(world_size)]
    batches = [list(BatchSampler(sampler, batch, drop_last=False)) for sampler in samplers]
    assert sorted(itertools.chain(*batches)) == [list(range(at, min(at + batch, size))) for at in range(0, size, batch)]
    assert [len(sampler) for sampler in samplers] == [len(list(sampler)) for sampler in samplers]
    assert max(map(len, batches)) - min(map(len, batches)) <= 1


def test_derived_seeds():
    seeds = [derive_seed(*parts) for parts in itertools.product(range(12), repeat=3)]
    assert len(set(seeds)) == 12**3 and all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 2, 3) == derive_seed(1, 2, 3)
    bits = [bin(derive_seed(0, 0, index) ^ derive_seed(0, 0, index + 1)).count("1") for index in range(200)]
    assert 28 < sum(bits) / len(bits) < 35  # half of 63 bits differ


class Noise(Dataset):
    """Different images of different sizes."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        height, width = 20 + index, 30 - index
        image = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
        mask = torch.randint(5, (height, width), generator=generator)
        return {"image": tv_tensors.Image(image), "mask": tv_tensors.Mask(mask), "name": f"{index}"}


def augmented(seed: int = 0) -> AugmentedDataset:
    return AugmentedDataset(Noise(), training_transform((16, 16), [0.7, 1.0, 1.3], True, 0.3, 255), seed)


def loader(num_workers: int = 0, batch: int = 2, world_size: int = 1, rank: int = 0) -> TrainingLoader:
    dataset = augmented()
    sampler = TrainingSampler(dataset, batch * world_size, world_size, rank, seed=0)
    workers = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
    return TrainingLoader(dataset, batch, sampler=sampler, collate_fn=collate, **workers)


def epochs(num_workers: int, world_size: int = 1) -> dict[str, dict]:
    """Samples of two epochs by seed, through the loaders of all processes."""
    seen = {}
    for rank in range(world_size):
        batches = loader(num_workers, 4 // world_size, world_size, rank)
        for number in range(2):
            batches.sampler.set_epoch(number)
            for batch in batches:
                for image, mask, seed in zip(batch["image"], batch["mask"], batch["seeds"], strict=True):
                    seen[seed] = {"image": image, "mask": mask}
    assert len(seen) == 24
    return seen


def same(one: dict, other: dict) -> bool:
    return torch.equal(one["image"], other["image"]) and torch.equal(one["mask"], other["mask"])


@pytest.mark.parametrize(("num_workers", "world_size"), [(1, 1), (2, 1), (0, 2), (0, 4)])
def test_augmentation_is_equal_for_any_number_of_workers_and_processes(num_workers, world_size):
    torch.manual_seed(num_workers)  # seeds the loaders
    expected, found = epochs(0), epochs(num_workers, world_size)
    assert expected.keys() == found.keys()
    assert all(same(expected[key], found[key]) for key in expected)


def test_augmentation_depends_on_seed_and_key_only():
    dataset, state = augmented(), torch.get_rng_state()
    first = dataset[SampleKey(1, 3)]
    assert torch.equal(torch.get_rng_state(), state)
    for index in range(5):
        dataset[SampleKey(2, index)]
    torch.manual_seed(123)
    assert same(dataset[SampleKey(1, 3)], first)
    assert not same(dataset[SampleKey(0, 3)], first) and not same(augmented(seed=1)[SampleKey(1, 3)], first)


def epoch(loader: TrainingLoader, number: int) -> list[list[int]]:
    batches = iter(loader)  # before the epoch is set, as in Lightning
    loader.sampler.set_epoch(number)
    return [batch["seeds"] for batch in batches]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_resumes_within_an_epoch(num_workers):
    expected = [epoch(loader(), number) for number in (1, 2)]
    stopped = loader(num_workers)
    stopped.sampler.set_epoch(1)
    batches = [batch["seeds"] for batch in itertools.islice(stopped, 4)]
    resumed = loader(num_workers)
    resumed.load_state_dict(stopped.state_dict())
    assert len(resumed) == 6, "the trainer counts whole epochs"
    assert batches + epoch(resumed, 1) == expected[0]
    assert epoch(resumed, 2) == expected[1]
    assert resumed.state_dict()["batches"] == 0, "the next epoch starts at its first batch"


def test_loader_resumes_with_the_same_batch_size_only():
    resumed = loader(batch=4)
    with pytest.raises(DataError, match="2 samples per process and batch, and now has 4"):
        resumed.load_state_dict({"batches": 3, "batch_size": 2})
    resumed.load_state_dict({"batches": 0, "batch_size": 2})
    assert len(epoch(resumed, 0)) == 3
