"""Loader of training batches that can resume in the middle of an epoch, and collate functions."""

import signal
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, default_collate

from refinenet_pl.datamodule.samplers import OverfitSampler, TrainingSampler
from refinenet_pl.errors import DataError


class TrainingLoader(DataLoader):
    """A DataLoader whose position in the epoch is saved by `state_dict` and restored by `load_state_dict`.

    Its sampler must be a `TrainingSampler` or an `OverfitSampler`.
    """

    given = 0
    first = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch's annotation is its private iterator class
        # A generator, so that the sampler is iterated with the first batch, after Lightning has set its epoch.
        assert isinstance(self.sampler, (TrainingSampler, OverfitSampler)) and self.batch_size is not None
        self.given, self.first = self.first, 0
        self.sampler.start = self.given * self.batch_size
        for batch in super().__iter__():
            self.given += 1
            yield batch

    def state_dict(self, epoch: float | None = None) -> dict[str, int]:
        """Return the position in the epoch.

        Args:
            epoch: Number of batches in an epoch, if limited to fewer than the loader has; None or infinity for all.
        """
        assert self.batch_size is not None
        return {"batches": int(self.given % min(epoch or len(self), len(self))), "batch_size": self.batch_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration start at a saved position.

        Raises:
            DataError: The position is within an epoch, and batches had another size.
        """
        if state["batches"] and state["batch_size"] != self.batch_size:
            raise DataError(
                f"the run was stopped in the middle of an epoch with {state['batch_size']} samples per process and batch, and "
                f"now has {self.batch_size}; resume with the former number of devices and accumulated batches until the epoch "
                "ends"
            )
        self.first = state["batches"]


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Batch samples; `seed` becomes `seeds`, a list of int, which stays on the CPU when the batch is moved."""
    seeds = [sample.pop("seed") for sample in samples]
    return default_collate(with_one_type(samples)) | {"seeds": seeds}


def collate_evaluation(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Batch images of one size.

    Raises:
        DataError: The sizes differ.
    """
    first, *others = (tuple(sample["image"].shape[-2:]) for sample in samples)
    for other, sample in zip(others, samples[1:], strict=True):
        if other != first:
            raise DataError(
                f"{samples[0]['name']} is {first[1]}x{first[0]} and {sample['name']} is {other[1]}x{other[0]}; images of "
                "different sizes cannot be in one batch, so set data.evaluation_batch to 1"
            )
    return default_collate(with_one_type(samples))


def with_one_type(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convert images to float32 if some are; RGB files of a declared range 0..255 can have 8 bits or floating-point values."""
    if len({sample["image"].dtype for sample in samples}) == 1:
        return samples
    return [sample | {"image": sample["image"].float()} for sample in samples]


def ignore_termination(worker: int) -> None:
    """Make a loader process ignore SIGTERM: its training process still needs batches, and ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
