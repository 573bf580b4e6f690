"""One function on every sample of a dataset, in several processes."""

from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from refinenet_pl.cpu import process_pool
from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.errors import DataError

Found = TypeVar("Found")

# Dataset and function of a process of the pool; sent with each task, the dataset would be pickled for each.
_kept: tuple[Any, Callable[[Any, int], Any]]


def over_samples(
    dataset: DenseDataset, look: Callable[[Any, int], Found], workers: int, chunk: int, fix: str
) -> Iterator[Found]:
    """Call a function for each sample, in order.

    Args:
        dataset: The dataset.
        look: Function of a module, called with the dataset and the index of a sample.
        workers: Number of processes; 1 or fewer for this one.
        chunk: Number of samples that a process gets at a time.
        fix: End of the error's message if there is too little memory.

    Yields:
        What the function returns.

    Raises:
        DataError: A process died.
    """
    if workers <= 1:
        yield from (look(dataset, index) for index in range(len(dataset)))
        return
    with process_pool(workers, initializer=_keep, initargs=(dataset, look)) as pool:
        try:
            yield from pool.map(_look_kept, range(len(dataset)), chunksize=chunk)
        except BrokenProcessPool:
            problem = "a process that reads the samples was killed, usually for lack of memory"
            raise DataError(f"{dataset.split}: {problem}; {fix}") from None


def _keep(dataset: DenseDataset, look: Callable[[Any, int], Any]) -> None:
    global _kept
    _kept = dataset, look


def _look_kept(index: int) -> Any:
    dataset, look = _kept
    return look(dataset, index)
