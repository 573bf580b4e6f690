"""The loader of training batches, which can resume in the middle of an epoch."""

import signal
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, default_collate

from refinenet_pl.errors import DataError


class TrainingLoader(DataLoader):
    """A loader that knows its place in the epoch, `state_dict`, and can start at one, `load_state_dict`.

    Its sampler must be a `TrainingSampler`.
    """

    given = 0
    first = 0

    def __iter__(self) -> Iterator[Any]:
        # A generator: the sampler is asked when the first batch is, and by then Lightning has told it the epoch.
        self.given, self.first = self.first, 0
        self.sampler.start = self.given * self.batch_size
        for batch in super().__iter__():
            self.given += 1
            yield batch

    def state_dict(self, epoch: int | None = None) -> dict[str, int]:
        """The place in the epoch.

        Args:
            epoch: Number of batches in an epoch that is limited to fewer than there are; None for all.
        """
        return {"batches": self.given % min(epoch or len(self), len(self)), "batch_size": self.batch_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if state["batches"] and state["batch_size"] != self.batch_size:
            raise DataError(
                f"the run was stopped in the middle of an epoch with {state['batch_size']} samples a process and batch, and "
                f"now has {self.batch_size}; go on with as many devices and accumulated batches as before until the epoch ends"
            )
        self.first = state["batches"]


def collate(samples: list[dict]) -> dict:
    """Batch samples; `seed` becomes `seeds`, a list of int, because a tensor would leave the CPU with the batch."""
    seeds = [sample.pop("seed") for sample in samples]
    return default_collate(samples) | {"seeds": seeds}


def collate_evaluation(samples: list[dict]) -> dict:
    """Batch images of one size.

    Raises:
        DataError: The sizes differ.
    """
    first, *others = (tuple(sample["image"].shape[-2:]) for sample in samples)
    for other, sample in zip(others, samples[1:], strict=True):
        if other != first:
            raise DataError(
                f"{samples[0]['name']} is {first[1]}x{first[0]} and {sample['name']} {other[1]}x{other[0]}, which cannot be "
                "one batch; set data.evaluation_batch to 1"
            )
    return default_collate(samples)


def ignore_termination(worker: int) -> None:
    """Keep a loader's process alive when a whole job is told to stop: its training process still needs batches and ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
