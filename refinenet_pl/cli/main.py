"""Command line: `refinenet COMMAND`, or `python -m refinenet_pl COMMAND`."""

import importlib
import os
import sys

COMMANDS = {
    "fit": ("refinenet_pl.cli.training", "train a network on a recipe"),
    "validate": ("refinenet_pl.cli.training", "evaluate a run's checkpoint on the validation split"),
    "test": ("refinenet_pl.cli.training", "evaluate a run's checkpoint on the test split"),
    "predict": ("refinenet_pl.cli.predict", "predict images with a checkpoint"),
    "ablate": ("refinenet_pl.cli.ablate", "ablation tables: list, run, status, table, sweep"),
    "report": ("refinenet_pl.cli.report", "write an HTML report of runs in a directory or on W&B"),
    "wandb": ("refinenet_pl.cli.wandb", "save a view and a report of a table on Weights & Biases: workspace"),
    "claims": ("refinenet_pl.cli.claims", "write the page of the paper's claims from kept records"),
    "import": ("refinenet_pl.cli.import_", "convert a published checkpoint to a model directory"),
    "publish": ("refinenet_pl.cli.publish", "write a trained network as a model directory with a card, for the Hub"),
    "export": ("refinenet_pl.cli.export", "export a network to ONNX or torch.export"),
    "describe": ("refinenet_pl.cli.describe", "print the parts of a network: shapes, parameters, multiply-adds"),
    "data": ("refinenet_pl.cli.data", "list the datasets, check or show a local copy"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: Arguments after `refinenet`; None for those of the process.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        # As with python -m, so that a recipe can name classes of a file in the working directory.
        sys.path.append(os.getcwd())
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
    elif arguments[0] not in COMMANDS:
        sys.exit(f"{_usage()}\n\nerror: unknown command {arguments[0]!r}")
    else:
        # Imported on demand, because the dependencies of a command take seconds to import.
        try:
            importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:  # the reader of the output has exited, for example `head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)


def _usage() -> str:
    rows = "\n".join(f"  {name:<10}{purpose}" for name, (_, purpose) in COMMANDS.items())
    return f"usage: refinenet COMMAND ...\n\n{rows}\n\nRun `refinenet COMMAND --help` for the options of a command."
