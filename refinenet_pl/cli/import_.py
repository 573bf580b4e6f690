"""Command `import`: convert a published checkpoint to a model directory."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser

from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.checkpoints.published.names import Family
from refinenet_pl.checkpoints.published.reader import read_published
from refinenet_pl.datasets.base import ValueDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.registry import VALUE_DATASETS, find_any_dataset
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError, DataError
from refinenet_pl.evaluation.value_inference import Activation
from refinenet_pl.files import expand_path

# Training dataset of published networks, by number of classes without void.
DATASETS = {
    7: "person_part", 19: "cityscapes", 21: "voc2012", 37: "sunrgbd", 40: "nyudv2", 60: "pascal_context", 150: "ade20k",
}  # fmt: skip


def import_checkpoint(
    checkpoint: Path,
    output: Path,
    family: Family | None = None,
    classes: int | None = None,
    dataset: str | None = None,
    activation: Activation | None = None,
) -> str:
    """Read a published checkpoint and write a model directory.

    Args:
        checkpoint: The file.
        output: The directory; it must not exist.
        family: Expected family; None for any.
        classes: Expected number of outputs, including void; None for any.
        dataset: Name of the dataset that it was trained on; None to infer it from the number of classes.
        activation: Mapping from the network's output to values, for a dataset of values; None for `none` or, for labels,
            `sigmoid`.

    Returns:
        Description of the imported network.

    Raises:
        CheckpointError: The checkpoint cannot be used; nothing is written.
    """
    if output.exists():
        raise CheckpointError(f"{output}: exists already; use another directory, or remove it")
    published = read_published(checkpoint, family, classes)
    network = published.network
    number = network.config["classes"] - (network.void_channel is not None)
    meaning = _meaning(checkpoint, number, dataset)
    kind = "classes" if isinstance(meaning, Classes) else "values"
    if kind == "classes" and activation is not None:
        raise CheckpointError(f"--activation is for a --dataset of values, such as {', '.join(VALUE_DATASETS)}; remove it")
    labels = isinstance(meaning, Values) and meaning.kind == "labels"
    if labels and activation not in (None, "sigmoid"):
        raise CheckpointError(f"--activation {activation}: labels are predicted as probabilities; omit it, or use sigmoid")
    default: Activation = "sigmoid" if labels else "none"
    write_model_directory(output, network, meaning, activation if kind == "classes" else activation or default)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    known = dataset or DATASETS.get(number)
    return (
        f"{output}: {published.family}, {network.config['encoder_name']}, {parameters:,} parameters, {number} {kind}"
        f"{f' of {known}' if known else ', which are numbered'}{', void output' if network.void_channel else ''}"
    )


def _meaning(checkpoint: Path, number: int, dataset: str | None) -> Classes | Values:
    name = dataset or DATASETS.get(number)
    if name is None:
        return Classes.numbered(number)
    try:
        found = find_any_dataset(name)
        meaning = found.values_of(None) if issubclass(found, ValueDataset) else found.classes_of(None)
    except (ValueError, DataError) as error:
        raise CheckpointError(f"--dataset: {error}") from error
    if len(meaning) != number:
        kind = "classes" if isinstance(meaning, Classes) else "values"
        raise CheckpointError(f"{checkpoint}: has {number} outputs without void, but {name} has {len(meaning)} {kind}")
    return meaning


def main(arguments: list[str]) -> None:
    """Run `import`; `arguments` begins with the command."""
    parser = ArgumentParser(
        prog="refinenet import",
        description="Convert a published RefineNet checkpoint (.pth, .pth.tar, .mat) to a model directory, for predict, test "
        "and RefineNet.from_pretrained.",
    )
    parser.add_argument("checkpoint", type=Path, help="file of the checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory to write; it must not exist")
    parser.add_argument("--family", type=Family | None, help="expected family; any by default")
    parser.add_argument("--classes", type=int | None, help="expected number of outputs, including void; any by default")
    parser.add_argument("--dataset", help="its training dataset; inferred from the number of classes by default")
    parser.add_argument(
        "--activation", type=Activation | None, help="for values: mapping from outputs to values (none; sigmoid for labels)"
    )
    options = parser.parse_args(arguments[1:])
    try:
        checkpoint, output = (expand_path(path, CheckpointError) for path in (options.checkpoint, options.output))
        print(import_checkpoint(checkpoint, output, options.family, options.classes, options.dataset, options.activation))
    except CheckpointError as error:
        sys.exit(f"error: {error}")
