"""`import`: a published checkpoint becomes a model directory."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser

from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.checkpoints.published.names import Family
from refinenet_pl.checkpoints.published.reader import read_published
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.errors import CheckpointError
from refinenet_pl.files import expand_path

# The data set that a published network with so many classes, void not counted, was trained on.
DATASETS = {
    7: "person_part", 19: "cityscapes", 21: "voc2012", 37: "sunrgbd", 40: "nyudv2", 60: "pascal_context", 150: "ade20k",
}  # fmt: skip


def import_checkpoint(
    checkpoint: Path, output: Path, family: Family | None = None, classes: int | None = None, dataset: str | None = None
) -> str:
    """Read a published checkpoint and write a model directory.

    Args:
        checkpoint: The file.
        output: The directory; it must not exist.
        family: What the checkpoint must be; None for whatever it is.
        classes: How many outputs it must have, void included; None for as many as it has.
        dataset: Name of the data set whose classes it knows; None to tell by their number.

    Returns:
        What was imported, in words.

    Raises:
        CheckpointError: The checkpoint cannot be used; nothing is written.
    """
    if output.exists():
        raise CheckpointError(f"{output}: exists already; give another directory, or remove it")
    published = read_published(checkpoint, family, classes)
    network = published.network
    number = network.config["classes"] - (network.void_channel is not None)
    named = _classes(checkpoint, number, dataset)
    write_model_directory(output, network, named)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    known = dataset or DATASETS.get(number)
    return (
        f"{output}: {published.family}, {network.config['encoder_name']}, {parameters:,} parameters, {number} classes"
        f"{f' of {known}' if known else ', which are numbered'}{', void output' if network.void_channel else ''}"
    )


def _classes(checkpoint: Path, number: int, dataset: str | None) -> Classes:
    name = dataset or DATASETS.get(number)
    if name is None:
        return Classes.numbered(number)
    try:
        classes = find_dataset(name).classes_of(None)
    except ValueError as error:
        raise CheckpointError(f"--dataset: {error}") from error
    if len(classes) != number:
        raise CheckpointError(f"{checkpoint}: has {number} classes, but {name} has {len(classes)}")
    return classes


def main(arguments: list[str]) -> None:
    """Run `import`; `arguments` begins with the command."""
    parser = ArgumentParser(
        prog="refinenet import",
        description="Turn a published RefineNet checkpoint (.pth, .pth.tar, .mat) into a model directory, which predict, test "
        "and RefineNet.from_pretrained take.",
    )
    parser.add_argument("checkpoint", type=Path, help="the file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the directory to write; it must not exist")
    parser.add_argument("--family", type=Family | None, help="what the checkpoint must be; without it, whatever it is")
    parser.add_argument("--classes", type=int | None, help="outputs it must have, void included; without it, as many as it has")
    parser.add_argument("--dataset", help="data set whose classes it knows; without it, the one with so many classes")
    options = parser.parse_args(arguments[1:])
    try:
        checkpoint, output = (expand_path(path, CheckpointError) for path in (options.checkpoint, options.output))
        print(import_checkpoint(checkpoint, output, options.family, options.classes, options.dataset))
    except CheckpointError as error:
        sys.exit(f"error: {error}")
