"""Assignment of samples to processes and their order, equal on any number of processes and after any interruption."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DistributedSampler, SequentialSampler

from refinenet_pl.datamodule.transforms import AugmentedDataset, SampleKey
from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.errors import DataError
from refinenet_pl.seeds import derive_seed


class TrainingSampler(DistributedSampler[SampleKey]):
    """Samples shuffled in each epoch from (seed, epoch); the last, incomplete global batch is dropped.

    Batch k of all processes together holds the same samples for any number of processes. A subclass that overrides `keys`
    chooses other samples, with the same guarantees; its constructor accepts these arguments first, in this order. Lightning
    replaces samplers of other classes.

    Args:
        dataset: The dataset.
        global_batch: Samples of one step over all processes; a multiple of `num_replicas`.
        num_replicas: Number of processes.
        rank: Rank of this process.
        seed: Seed of the order.

    Attributes:
        size: Number of samples of the dataset.
        total_size: Samples of an epoch over all processes, a multiple of `global_batch`.
        start: Number of this process's samples that the next iteration skips, to resume in the middle of an epoch.

    Raises:
        DataError: The dataset is smaller than one batch.
    """

    def __init__(self, dataset: AugmentedDataset, global_batch: int, num_replicas: int, rank: int, seed: int):
        require_one_batch(dataset, global_batch)
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed, drop_last=True)
        self.size = len(dataset)
        self.total_size = self.size // global_batch * global_batch
        self.num_samples = self.total_size // num_replicas
        self.start = 0

    def keys(self, generator: torch.Generator) -> list[SampleKey]:
        """Choose the samples of the epoch `self.epoch` over all processes, in order: each one once.

        Args:
            generator: Generator seeded from (seed, epoch), the only source of random numbers.

        Returns:
            `total_size` keys or more; the others are not used. Keys of an epoch differ, so that a sample that occurs twice is
            augmented differently, see `numbered_visits`.
        """
        return [SampleKey(self.epoch, sample) for sample in torch.randperm(self.size, generator=generator).tolist()]

    def __iter__(self) -> Iterator[SampleKey]:
        keys = self.keys(torch.Generator().manual_seed(derive_seed(self.seed, self.epoch)))[: self.total_size]
        if len(keys) < self.total_size:
            raise DataError(
                f"data.sampler: {type(self).__name__}.keys returns {len(keys)} keys for an epoch of {self.total_size} samples"
            )
        return iter(keys[self.rank :: self.num_replicas][self.start :])


def numbered_visits(epoch: int, samples: Iterable[int], crop_classes: Iterable[int]) -> list[SampleKey]:
    """Make the keys of an epoch in which samples may occur several times.

    Args:
        epoch: Number of the epoch.
        samples: Index of each sample, in order over all processes.
        crop_classes: Class of each sample's crop, see `SampleKey`.
    """
    visits: Counter[int] = Counter()
    keys = []
    for sample, crop_class in zip(samples, crop_classes, strict=True):
        keys.append(SampleKey(epoch, sample, visits[sample], crop_class))
        visits[sample] += 1
    return keys


class OverfitSampler(SequentialSampler):
    """The first samples, with equal order and augmentation in each epoch, for `trainer.overfit_batches`.

    A SequentialSampler, because Lightning replaces all others.

    Args:
        dataset: The dataset.
        global_batch: Samples of one step over all processes.
        num_replicas: Number of processes.
        rank: Rank of this process.
    """

    def __init__(self, dataset: AugmentedDataset, global_batch: int, num_replicas: int, rank: int):
        require_one_batch(dataset, global_batch)
        super().__init__(dataset)
        self.indices = range(rank, len(dataset) // global_batch * global_batch, num_replicas)
        self.start = 0

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Any]:  # of SampleKey, but torch annotates the keys of a SequentialSampler as int
        return iter([SampleKey(0, index) for index in self.indices[self.start :]])


class EvaluationSampler(DistributedSampler[int], SequentialSampler):
    """Every sample exactly once, in order; whole batches are assigned to the processes in turn.

    Batches stay whole, so that they hold the same samples on any number of processes and their scores are bit-equal.
    Lightning's default sampler repeats samples until all processes have equally many, and would count those twice.

    It has both base classes because Lightning replaces other samplers, to distribute and to overfit.

    Args:
        dataset: The dataset.
        batch: Samples per batch and process.
        num_replicas: Number of processes.
        rank: Rank of this process.

    Raises:
        DataError: There are fewer batches than processes.
    """

    def __init__(self, dataset: DenseDataset, batch: int, num_replicas: int, rank: int):
        batches = -(-len(dataset) // batch)
        if batches < num_replicas:
            raise DataError(
                f"{len(dataset)} images in batches of {batch} are {batches} batches, too few for {num_replicas} processes; "
                "use fewer devices, or lower data.evaluation_batch"
            )
        DistributedSampler.__init__(self, dataset, num_replicas=num_replicas, rank=rank, shuffle=False)
        starts = range(rank * batch, len(dataset), num_replicas * batch)
        self.indices = [index for start in starts for index in range(start, min(start + batch, len(dataset)))]
        self.num_samples = len(self.indices)
        self.total_size = len(dataset)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def require_one_batch(dataset: AugmentedDataset, global_batch: int) -> None:
    """Check that a dataset has at least one batch, without which training has no step.

    Raises:
        DataError: It is smaller.
    """
    if len(dataset) < global_batch:
        raise DataError(
            f"the training split has {len(dataset)} samples, fewer than one batch of {global_batch}; lower data.global_batch"
        )


def device_batch(global_batch: int, processes: int, accumulation: int) -> int:
    """Compute the batch size of one process.

    Args:
        global_batch: Samples of one optimizer step over all processes.
        processes: Number of processes.
        accumulation: Batches per process and step.

    Raises:
        DataError: The global batch cannot be divided evenly.
    """
    shares = processes * accumulation
    if global_batch % shares:
        across = f"{processes} processes" + (f" x {accumulation} accumulated batches" if accumulation > 1 else "")
        raise DataError(
            f"a global batch of {global_batch} cannot be divided among {across}: {global_batch} / {shares} = "
            f"{global_batch / shares:.2f}; use a number of devices (trainer.devices, trainer.num_nodes) or of accumulated "
            "batches (trainer.accumulate_grad_batches) that divides it"
        )
    return global_batch // shares
