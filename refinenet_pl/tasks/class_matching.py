"""Matching of a network's classes with those of a dataset: equal, in another order, or different."""

from typing import Literal

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.errors import CheckpointError, some

MatchClasses = Literal["exact", "name", "position"]
"""`exact`: equal names, order and `ignore_index`. `name`: equal names in any order. `position`: by channel number only."""


BY_NAME = "test and validate match them by name with --match_classes name"
NOT_RESUMED = "use a dataset with the classes that the run started with, or train under another name (--run.cell)"


def match_classes(
    own: Classes | None, dataset: Classes, how: MatchClasses, place: str, remedy: str = BY_NAME
) -> list[int] | None:
    """Find the network's channel of each class of a dataset.

    Args:
        own: Classes that the network was trained on; None if unknown.
        dataset: Classes of the dataset to evaluate on.
        how: See `MatchClasses`.
        place: Checkpoint to name in errors.
        remedy: Advice for classes in another order.

    Returns:
        The channels in the order of the dataset's classes; None if they are already in that order.

    Raises:
        CheckpointError: The classes differ in a way that `how` does not allow.
    """
    if how == "position":
        if own is not None and len(own) != len(dataset):
            raise CheckpointError(f"{place}: has {len(own)} classes, but the dataset has {len(dataset)}")
        return None
    if own is None:
        raise CheckpointError(
            f"{place}: does not name its classes, so its channels cannot be matched with the dataset's classes; use "
            "--match_classes position if they are in the dataset's order, or import the checkpoint again with --dataset"
        )
    if own.names == dataset.names and (own.ignore_index == dataset.ignore_index or how == "name"):
        return None
    if sorted(own.names) != sorted(dataset.names):
        raise CheckpointError(f"{place}: {_difference(own, dataset)}; use the dataset that it was trained on")
    if how == "name":
        return [own.names.index(name) for name in dataset.names]
    if own.names == dataset.names:
        problem = f"ignores the label {own.ignore_index}, but the dataset ignores {dataset.ignore_index}"
    else:
        problem = f"has the classes [{', '.join(own.names)}], but the dataset has them as [{', '.join(dataset.names)}]"
    raise CheckpointError(f"{place}: {problem}; {remedy}")


def _difference(own: Classes, dataset: Classes) -> str:
    missing = [name for name in dataset.names if name not in own.names]
    extra = [name for name in own.names if name not in dataset.names]
    parts = [f"lacks {_quoted(missing)} of the dataset"] if missing else []
    parts += [f"has {_quoted(extra)}, which the dataset lacks"] if extra else []
    return f"has {len(own)} classes and the dataset has {len(dataset)}: it " + " and ".join(parts)


def _quoted(names: list[str]) -> str:
    return some([repr(name) for name in names])
