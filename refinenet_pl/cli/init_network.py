"""Network of `--init`, in place of the recipe's, with `--init_network true`."""

import json

from refinenet_pl.checkpoints.initialization import describe_network
from refinenet_pl.cli.early_options import chosen
from refinenet_pl.errors import CatalogError

# Those of the dataset are linked to the model, and the weights are those of --init.
_NOT_COPIED = {"classes", "in_channels", "void_channel", "encoder_weights"}


def init_network_options(arguments: list[str]) -> list[str]:
    """Options that configure the network as the one of `--init`; none without `--init_network true`.

    Args:
        arguments: A command and its options, with recipes as `--config FILE`.

    Raises:
        CatalogError: There is no `--init`.
        CheckpointError: It cannot be read, or does not describe its network.
    """
    wanted = chosen(arguments, "init_network")
    if str(wanted).lower() != "true":
        return []
    source = chosen(arguments, "init")
    if source is None:
        raise CatalogError("--init_network true requires --init, the weights whose network is used")
    network = describe_network(source)
    given = {name: value for name, value in network["init_args"].items() if name not in _NOT_COPIED}
    options = [f"--model.network.init_args.{name}={_text(value)}" for name, value in given.items()]
    return [f"--model.network={network['class_path']}", *options]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
