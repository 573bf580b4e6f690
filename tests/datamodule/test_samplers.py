"""Which samples a process sees, and that augmentation is a function of (seed, epoch, index) alone."""

import itertools

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset
from torchvision import tv_tensors

from refinenet_pl.datamodule.loader import TrainingLoader, collate
from refinenet_pl.datamodule.samplers import EvaluationSampler, SampleKey, TrainingSampler, device_batch
from refinenet_pl.datamodule.transforms import AugmentedDataset, training_transform
from refinenet_pl.errors import DataError
from refinenet_pl.seeds import derive_seed

SIZE, BATCH = 30, 8


def order(world_size: int, rank: int, seed: int = 0, epoch: int = 0, size: int = SIZE, batch: int = BATCH) -> list[SampleKey]:
    sampler = TrainingSampler(range(size), batch, world_size, rank, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def global_batches(world_size: int, **kwargs) -> list[set[int]]:
    """The samples of batch 0, 1, ... over all processes."""
    share = BATCH // world_size
    ranks = [[key.index for key in order(world_size, rank, **kwargs)] for rank in range(world_size)]
    number = len(ranks[0]) // share
    batches = [[rank[k * share : (k + 1) * share] for rank in ranks] for k in range(number)]
    assert all(len(set(itertools.chain(*batch))) == BATCH for batch in batches)
    return [set(itertools.chain(*batch)) for batch in batches]


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_batch_k_holds_the_same_samples_on_any_number_of_processes(world_size, epoch):
    assert global_batches(world_size, epoch=epoch) == global_batches(1, epoch=epoch)


def test_order_is_a_function_of_seed_and_epoch():
    assert order(1, 0, seed=1, epoch=2) == order(1, 0, seed=1, epoch=2)
    orders = {tuple(key.index for key in order(1, 0, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_order_does_not_depend_on_the_global_generator_nor_disturb_it():
    torch.manual_seed(1)
    first, state = order(1, 0), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert order(1, 0) == first


def test_keys_carry_the_epoch():
    assert {key.epoch for key in order(2, 1, epoch=5)} == {5}


def test_incomplete_batch_is_dropped_and_no_sample_comes_twice():
    seen = [key.index for rank in range(4) for key in order(4, rank)]
    assert len(seen) == len(set(seen)) == 24
    assert set(seen) <= set(range(SIZE))


def test_every_sample_is_shuffled_in_over_the_epochs():
    assert {key.index for epoch in range(20) for key in order(1, 0, epoch=epoch)} == set(range(SIZE))


@pytest.mark.parametrize(("size", "batch", "world_size"), [(30, 8, 1), (30, 8, 2), (32, 8, 4), (8, 8, 8), (9, 2, 2), (7, 1, 1)])
def test_length_is_the_number_of_samples_given(size, batch, world_size):
    for rank in range(world_size):
        sampler = TrainingSampler(range(size), batch, world_size, rank, 0)
        assert len(sampler) == len(list(sampler)) == size // batch * batch // world_size


@pytest.mark.parametrize(
    ("processes", "accumulation", "arithmetic"),
    [
        (3, 1, "a global batch of 8 cannot be shared by 3 processes: 8 / 3 = 2.67"),
        (16, 1, "8 / 16 = 0.50"),
        (2, 3, "by 2 processes x 3 accumulated batches: 8 / 6 = 1.33"),
    ],
)
def test_batch_that_cannot_be_shared_is_refused_with_the_arithmetic(processes, accumulation, arithmetic):
    with pytest.raises(DataError, match=arithmetic):
        device_batch(8, processes, accumulation)


@pytest.mark.parametrize(("processes", "accumulation", "batch"), [(1, 1, 8), (2, 1, 4), (2, 2, 2), (1, 8, 1)])
def test_devices_times_batch_times_accumulation_is_the_global_batch(processes, accumulation, batch):
    assert device_batch(8, processes, accumulation) == batch


def test_split_smaller_than_a_batch_is_refused_with_both_numbers():
    with pytest.raises(DataError, match="holds 7 samples, fewer than one batch of 8"):
        TrainingSampler(range(7), 8, 1, 0, 0)


@pytest.mark.parametrize("size", [4, 7, 12, 13])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_evaluation_sees_each_sample_exactly_once_in_the_same_batches(size, batch, world_size):
    samplers = [EvaluationSampler(range(size), batch, world_size, rank) for rank in range(world_size)]
    batches = [list(BatchSampler(sampler, batch, drop_last=False)) for sampler in samplers]
    assert sorted(itertools.chain(*batches)) == [list(range(at, min(at + batch, size))) for at in range(0, size, batch)]
    assert [len(sampler) for sampler in samplers] == [len(list(sampler)) for sampler in samplers]
    assert max(map(len, batches)) - min(map(len, batches)) <= 1


def test_fewer_evaluation_batches_than_processes_are_refused():
    with pytest.raises(DataError, match="5 pictures in batches of 2 are 3 batches, too few for 4 processes"):
        EvaluationSampler(range(5), 2, 4, 0)


def test_derived_seeds_differ_and_fit_a_generator():
    parts = list(itertools.product(range(12), repeat=3))
    seeds = [derive_seed(*part) for part in parts]
    assert len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 2, 3) == derive_seed(1, 2, 3)


def test_derived_seeds_of_neighbours_are_unrelated():
    bits = [bin(derive_seed(0, 0, index) ^ derive_seed(0, 0, index + 1)).count("1") for index in range(200)]
    assert 28 < sum(bits) / len(bits) < 35  # half of 63


class Noise(Dataset):
    """Pictures that differ, of a size of their own each."""

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


def epochs(num_workers: int, world_size: int = 1) -> dict[SampleKey, dict]:
    """Two epochs of samples by key, through the loaders of all processes."""
    seen = {}
    for rank in range(world_size):
        dataset = augmented()
        sampler = TrainingSampler(dataset, 4, world_size, rank, seed=0)
        loader = DataLoader(
            dataset, 4 // world_size, sampler=sampler, num_workers=num_workers, persistent_workers=num_workers > 0
        )
        for epoch in range(2):
            sampler.set_epoch(epoch)
            keys = iter(list(sampler))
            for batch in loader:
                for image, mask, name in zip(batch["image"], batch["mask"], batch["name"], strict=True):
                    key = next(keys)
                    assert name == str(key.index)
                    seen[key] = {"image": image, "mask": mask}
    assert len(seen) == 24
    return seen


def same(one: dict, other: dict) -> bool:
    return torch.equal(one["image"], other["image"]) and torch.equal(one["mask"], other["mask"])


@pytest.mark.parametrize(("num_workers", "world_size"), [(1, 1), (2, 1), (0, 2), (0, 4)])
def test_sample_of_an_epoch_is_the_same_for_any_number_of_workers_and_processes(num_workers, world_size):
    torch.manual_seed(num_workers)  # what the loaders' own seeds hang on
    reference, other = epochs(0), epochs(num_workers, world_size)
    assert reference.keys() == other.keys()
    assert all(same(reference[key], other[key]) for key in reference)


def test_sample_does_not_depend_on_what_was_read_before():
    dataset = augmented()
    first = dataset[SampleKey(1, 3)]
    for index in range(5):
        dataset[SampleKey(2, index)]
    torch.manual_seed(123)
    assert same(dataset[SampleKey(1, 3)], first)


@pytest.mark.parametrize("other", [(0, 1, 3), (1, 0, 3)], ids=["epoch", "seed"])
def test_augmentation_changes_with_epoch_and_seed(other):
    seed, epoch, index = other
    assert not same(augmented(0)[SampleKey(0, 3)], augmented(seed)[SampleKey(epoch, index)])


def test_samples_of_one_epoch_are_augmented_each_in_its_own_way():
    class Ramp(Dataset):
        def __getitem__(self, index):
            # Always the same picture, so that results differ by their augmentation alone.
            picture = torch.arange(192, dtype=torch.uint8).reshape(3, 8, 8)
            return {"image": tv_tensors.Image(picture), "mask": tv_tensors.Mask(torch.zeros(8, 8, dtype=torch.long))}

    dataset = AugmentedDataset(Ramp(), training_transform((4, 4), [1.0], False, 0.0, 255), 0)
    assert len({bytes(dataset[SampleKey(0, index)]["image"].numpy()) for index in range(30)}) > 10


def test_global_generator_is_left_as_it_was():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    augmented()[SampleKey(0, 0)]
    assert torch.equal(torch.get_rng_state(), state)


def test_augmented_data_set_is_as_long_as_what_it_wraps():
    assert len(augmented()) == 12


# The middle of an epoch


def loader(num_workers: int = 0, batch: int = 2) -> TrainingLoader:
    dataset = augmented()
    sampler = TrainingSampler(dataset, batch, 1, 0, seed=0)
    return TrainingLoader(dataset, batch, sampler=sampler, num_workers=num_workers, collate_fn=collate)


def epoch(loader: TrainingLoader, number: int) -> list[list[int]]:
    batches = iter(loader)  # before the epoch is set, as Lightning does
    loader.sampler.set_epoch(number)
    return [batch["seeds"] for batch in batches]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_goes_on_in_the_middle_of_an_epoch(num_workers):
    whole = [epoch(loader(), number) for number in (1, 2)]
    stopped, batches = loader(num_workers), []
    stopped.sampler.set_epoch(1)
    for batch in stopped:
        batches.append(batch["seeds"])
        if len(batches) == 4:
            break
    going_on = loader(num_workers)
    going_on.load_state_dict(stopped.state_dict())
    assert len(going_on) == 6, "the trainer counts whole epochs"
    assert batches + epoch(going_on, 1) == whole[0]
    assert epoch(going_on, 2) == whole[1], "only the epoch that was interrupted is shorter"


def test_loader_starts_at_the_beginning_after_a_whole_epoch():
    finished = loader()
    epoch(finished, 0)
    assert finished.state_dict()["batches"] == 0


def test_middle_of_an_epoch_needs_the_same_share_of_the_batch():
    going_on = loader(batch=4)
    with pytest.raises(DataError, match="2 samples a process and batch, and now has 4"):
        going_on.load_state_dict({"batches": 3, "batch_size": 2})
    going_on.load_state_dict({"batches": 0, "batch_size": 2})
    assert len(epoch(going_on, 0)) == 3
