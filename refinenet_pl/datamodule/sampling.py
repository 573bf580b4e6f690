"""Samplers of training samples by name or class path: the option `data.sampler`."""

from collections.abc import Callable
from typing import Literal

from refinenet_pl.datamodule.class_samplers import ClassBalancedSampler, RareClassSampler
from refinenet_pl.datamodule.samplers import TrainingSampler
from refinenet_pl.datamodule.transforms import AugmentedDataset

SamplerName = Literal["uniform", "class_balanced", "rare_class"]
SamplerFactory = Callable[[AugmentedDataset, int, int, int, int], TrainingSampler]
"""A subclass of `TrainingSampler` with all arguments but (dataset, global_batch, num_replicas, rank, seed), as LightningCLI
makes it from a class path."""

SAMPLERS: dict[str, SamplerFactory] = {
    "uniform": TrainingSampler,
    "class_balanced": ClassBalancedSampler,
    "rare_class": RareClassSampler,
}


def build_sampler(
    how: SamplerName | SamplerFactory, dataset: AugmentedDataset, global_batch: int, num_replicas: int, rank: int, seed: int
) -> TrainingSampler:
    """Build the sampler of a training.

    Args:
        how: A name in `SAMPLERS`, or a factory.
        dataset: The dataset.
        global_batch: Samples of one step over all processes.
        num_replicas: Number of processes.
        rank: Rank of this process.
        seed: Seed of the samples.

    Raises:
        ValueError: The factory does not build a `TrainingSampler`.
    """
    build = SAMPLERS[how] if isinstance(how, str) else how
    sampler = build(dataset, global_batch, num_replicas, rank, seed)
    if not isinstance(sampler, TrainingSampler):
        raise ValueError(
            f"data.sampler: {type(sampler).__name__} is not a subclass of refinenet_pl.datamodule.samplers.TrainingSampler, "
            "which assigns samples to processes and resumes"
        )
    return sampler
