"""Samples of each process and their order: the same on any number of processes and after any interruption."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler

from refinenet_pl.errors import DataError
from refinenet_pl.seeds import derive_seed


class SampleKey(NamedTuple):
    """One visit to one training sample; augmentation is drawn from it."""

    epoch: int
    index: int


class TrainingSampler(DistributedSampler):
    """Samples shuffled in each epoch from (seed, epoch); the last, incomplete global batch is dropped.

    Batch k of all processes together holds the same samples whatever the number of processes.

    Args:
        dataset: The dataset.
        global_batch: Samples of one step over all processes; a multiple of `num_replicas`.
        num_replicas: Number of processes.
        rank: This process's number.
        seed: Of the order.

    Attributes:
        start: Number of this process's samples that the next iteration leaves out, to resume in the middle of an epoch.

    Raises:
        DataError: The dataset is smaller than one batch.
    """

    def __init__(self, dataset: Dataset, global_batch: int, num_replicas: int, rank: int, seed: int):
        require_one_batch(dataset, global_batch)
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed, drop_last=True)
        self.total_size = len(dataset) // global_batch * global_batch
        self.num_samples = self.total_size // num_replicas
        self.start = 0

    def __iter__(self) -> Iterator[SampleKey]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        order = torch.randperm(len(self.dataset), generator=generator)[: self.total_size].tolist()
        mine = order[self.rank :: self.num_replicas]
        return iter([SampleKey(self.epoch, index) for index in mine[self.start :]])


class OverfitSampler(SequentialSampler):
    """The first samples, in the same order and with the same augmentation in each epoch, for `trainer.overfit_batches`.

    Args:
        dataset: The dataset.
        global_batch: Samples of one step over all processes.
        num_replicas: Number of processes.
        rank: This process's number.
    """

    def __init__(self, dataset: Dataset, global_batch: int, num_replicas: int, rank: int):
        require_one_batch(dataset, global_batch)
        super().__init__(dataset)
        self.indices = range(rank, len(dataset) // global_batch * global_batch, num_replicas)
        self.start = 0

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[SampleKey]:
        return iter([SampleKey(0, index) for index in self.indices[self.start :]])


class EvaluationSampler(DistributedSampler, SequentialSampler):
    """Every sample exactly once, in order; whole batches are dealt to the processes in turn.

    Both of its base classes tell Lightning to leave it as it is: it replaces others to distribute and to overfit.

    Whole ones, so that a batch holds the same samples on any number of processes and its scores are the same to the last bit.
    Lightning's own choice repeats samples until all processes have equally many, and would count those twice.

    Raises:
        DataError: There are fewer batches than processes.
    """

    def __init__(self, dataset: Dataset, batch: int, num_replicas: int, rank: int):
        batches = -(-len(dataset) // batch)
        if batches < num_replicas:
            raise DataError(
                f"{len(dataset)} pictures in batches of {batch} are {batches} batches, too few for {num_replicas} processes; "
                "use fewer devices, or lower data.evaluation_batch"
            )
        DistributedSampler.__init__(self, dataset, num_replicas=num_replicas, rank=rank, shuffle=False)
        starts = range(rank * batch, len(dataset), num_replicas * batch)
        self.indices = [index for start in starts for index in range(start, min(start + batch, len(dataset)))]
        self.num_samples = len(self.indices)
        self.total_size = len(dataset)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def require_one_batch(dataset: Dataset, global_batch: int) -> None:
    """Raise a DataError if a dataset is smaller than one batch, of which a training would have no step."""
    if len(dataset) < global_batch:
        raise DataError(
            f"the training split holds {len(dataset)} samples, fewer than one batch of {global_batch}; lower data.global_batch"
        )


def device_batch(global_batch: int, processes: int, accumulation: int) -> int:
    """Samples that one process takes at a time.

    Args:
        global_batch: Samples of one optimizer step over all processes.
        processes: Number of processes.
        accumulation: Batches of one process that make one step.

    Raises:
        DataError: The global batch cannot be shared evenly; the message has the arithmetic.
    """
    shares = processes * accumulation
    if global_batch % shares:
        across = f"{processes} processes" + (f" x {accumulation} accumulated batches" if accumulation > 1 else "")
        raise DataError(
            f"a global batch of {global_batch} cannot be shared by {across}: {global_batch} / {shares} = "
            f"{global_batch / shares:.2f}; use a number of devices (trainer.devices, trainer.num_nodes) or of accumulated "
            "batches (trainer.accumulate_grad_batches) that divides it"
        )
    return global_batch // shares
