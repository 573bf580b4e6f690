"""What a checkpoint may unpack to."""

from pathlib import Path

from refinenet_pl.errors import CheckpointError

# A RefineNet with a ResNet-152 has 535 MB, and a training checkpoint three times that.
_LARGEST = 8 * 2**30


def refuse_bomb(path: Path, size: int) -> None:
    """Raise a CheckpointError if so many bytes are more than a network can need; a small file can claim any number."""
    if size > _LARGEST:
        raise CheckpointError(
            f"{path}: unpacks to {size / 2**30:.1f} GiB; no RefineNet needs more than {_LARGEST / 2**30:.0f}, so it is refused"
        )
