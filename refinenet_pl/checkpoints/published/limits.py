"""Size limit of unpacked checkpoints."""

from pathlib import Path

from refinenet_pl.errors import CheckpointError

# A RefineNet with a ResNet-152 has 535 MB, and its training checkpoint three times that.
_LARGEST = 8 * 2**30


def refuse_bomb(path: Path, size: int) -> None:
    """Refuse a file that unpacks to more bytes than a network can need, as a small malicious file may.

    Raises:
        CheckpointError: The size is above the limit.
    """
    if size > _LARGEST:
        raise CheckpointError(
            f"{path}: unpacks to {size / 2**30:.1f} GiB; no RefineNet needs more than {_LARGEST / 2**30:.0f}, so it is refused"
        )
