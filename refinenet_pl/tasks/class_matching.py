"""The classes of a network and those of a dataset: the same, the same in another order, or others."""

from typing import Literal

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.errors import CheckpointError

MatchClasses = Literal["exact", "name", "position"]
"""`exact`: names, order and ignored id must be equal. `name`: by name, in any order. `position`: by their order alone."""


BY_NAME = "test and validate match them by name with --match_classes name"
NOT_RESUMED = "give the dataset the classes that the run began with, or train under another name (--run.cell)"


def match_classes(
    own: Classes | None, dataset: Classes, how: MatchClasses, place: str, remedy: str = BY_NAME
) -> list[int] | None:
    """Find the channel of each class of a dataset in a network.

    Args:
        own: The classes that the network was trained on; None if nothing tells.
        dataset: The classes that it is to be evaluated on.
        how: See `MatchClasses`.
        place: The checkpoint, named in errors.
        remedy: Advice for classes in another order.

    Returns:
        The channels in the order of the dataset's classes; None if that is their own order.

    Raises:
        CheckpointError: The classes differ in a way that `how` does not allow.
    """
    if how == "position":
        if own is not None and len(own) != len(dataset):
            raise CheckpointError(f"{place}: knows {len(own)} classes, but the dataset has {len(dataset)}")
        return None
    if own is None:
        raise CheckpointError(
            f"{place}: does not name its classes, so nothing tells which channel is which class of the dataset; give "
            "--match_classes position if their order is the dataset's, or import the checkpoint again with --dataset"
        )
    if own.names == dataset.names and (own.ignore_index == dataset.ignore_index or how == "name"):
        return None
    if sorted(own.names) != sorted(dataset.names):
        raise CheckpointError(f"{place}: {_difference(own, dataset)}; use the dataset that it was trained on")
    if how == "name":
        return [own.names.index(name) for name in dataset.names]
    if own.names == dataset.names:
        what = f"ignores the label {own.ignore_index}, but the dataset ignores {dataset.ignore_index}"
    else:
        what = f"knows the classes [{', '.join(own.names)}], but the dataset has them as [{', '.join(dataset.names)}]"
    raise CheckpointError(f"{place}: {what}; {remedy}")


def _difference(own: Classes, dataset: Classes) -> str:
    lacking = [name for name in dataset.names if name not in own.names]
    more = [name for name in own.names if name not in dataset.names]
    parts = [f"lacks {_some(lacking)} of the dataset"] if lacking else []
    parts += [f"has {_some(more)}, which the dataset has not"] if more else []
    return f"knows {len(own)} classes and the dataset has {len(dataset)}: it " + " and ".join(parts)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
