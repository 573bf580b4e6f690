"""Which samples a process sees, and when: the same on any number of processes and after any interruption."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from numpy.random import SeedSequence
from torch.utils.data import Dataset, DistributedSampler


class SampleKey(NamedTuple):
    """One visit to one training sample; augmentation is drawn from it."""

    epoch: int
    index: int


class TrainingSampler(DistributedSampler):
    """Shuffled anew each epoch from (seed, epoch); the last, incomplete global batch is dropped.

    Batch k of all processes together holds the same samples whatever the number of processes.

    Args:
        dataset: What is sampled.
        global_batch: Samples of one step over all processes; a multiple of `num_replicas`.
        num_replicas: Number of processes.
        rank: This process's number.
        seed: Of the order.

    Raises:
        ValueError: The data set is smaller than one batch, or the batch cannot be shared evenly.
    """

    def __init__(self, dataset: Dataset, global_batch: int, num_replicas: int, rank: int, seed: int):
        if global_batch % num_replicas:
            raise ValueError(
                f"a global batch of {global_batch} cannot be shared by {num_replicas} processes: "
                f"{global_batch} / {num_replicas} = {global_batch / num_replicas:.2f}; use a number of devices that divides it"
            )
        if len(dataset) < global_batch:
            raise ValueError(f"the training split holds {len(dataset)} samples, fewer than one batch of {global_batch}")
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed, drop_last=True)
        self.total_size = len(dataset) // global_batch * global_batch
        self.num_samples = self.total_size // num_replicas

    def __iter__(self) -> Iterator[SampleKey]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        order = torch.randperm(len(self.dataset), generator=generator)[: self.total_size].tolist()
        return iter(SampleKey(self.epoch, index) for index in order[self.rank :: self.num_replicas])


class EvaluationSampler(DistributedSampler):
    """Every sample exactly once, in order, dealt to the processes in turn.

    Lightning's own choice repeats samples until all processes have equally many, and would count those twice.
    """

    def __init__(self, dataset: Dataset, num_replicas: int, rank: int):
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=False)
        self.num_samples = len(range(rank, len(dataset), num_replicas))
        self.total_size = len(dataset)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, len(self.dataset), self.num_replicas))


def derive_seed(*parts: int) -> int:
    """Mix non-negative integers into one 63-bit seed, so that neighbouring seeds do not give related random numbers."""
    return int(SeedSequence(parts).generate_state(1, "uint64")[0] >> 1)
