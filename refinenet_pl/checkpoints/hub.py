"""Models by path, or by their id on the Hugging Face Hub."""

from pathlib import Path

from refinenet_pl.errors import CheckpointError
from refinenet_pl.files import expand_path


def local_path(source: str) -> Path:
    """Path of a file or model directory; a model of the Hub is downloaded to its cache.

    Args:
        source: A path, or the id of a model (`user/name`) if there is no such path.

    Raises:
        CheckpointError: There is no such file, directory or model.
    """
    path = expand_path(source, CheckpointError)
    if path.exists():
        return path
    is_identifier = source.count("/") == 1 and not source.startswith((".", "~", "/")) and not path.suffix
    if not is_identifier:
        raise CheckpointError(f"{source}: no such file or model directory; a model on the Hub has an id of the form user/name")
    from huggingface_hub import snapshot_download  # a dependency of segmentation_models_pytorch

    try:
        return Path(snapshot_download(source))
    except Exception as error:  # the hub raises errors of many types, also of its HTTP client
        raise CheckpointError(
            f"{source}: no such file or directory, and it cannot be downloaded from the Hub ({type(error).__name__}: {error})"
        ) from error
