"""The command line: `refinenet COMMAND`, or `python -m refinenet_pl COMMAND`."""

import importlib
import os
import sys

COMMANDS = {
    "fit": ("refinenet_pl.cli.training", "train a network on a recipe"),
    "validate": ("refinenet_pl.cli.training", "score a run's checkpoint on the validation split"),
    "test": ("refinenet_pl.cli.training", "score a run's checkpoint on the test split"),
    "predict": ("refinenet_pl.cli.predict", "segment images with a checkpoint"),
    "ablate": ("refinenet_pl.cli.ablate", "ablation tables: list, run, status, table, sweep"),
    "report": ("refinenet_pl.cli.report", "write a page of runs from a directory or from W&B"),
    "claims": ("refinenet_pl.cli.claims", "write the page of the paper's claims from kept records"),
    "import": ("refinenet_pl.cli.import_", "turn a published checkpoint into a model directory"),
    "export": ("refinenet_pl.cli.export", "write a network as ONNX or for torch.export"),
    "describe": ("refinenet_pl.cli.describe", "print a network part by part: shapes, parameters, multiply-adds"),
    "data": ("refinenet_pl.cli.data", "list the datasets, check or show a copy of one"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command.

    Args:
        arguments: Words after `refinenet`; None for those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
    elif arguments[0] not in COMMANDS:
        sys.exit(f"{_usage()}\n\nerror: there is no command {arguments[0]!r}")
    else:
        # A command's libraries take seconds to import; only the chosen one's are.
        try:
            importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:  # whatever reads the output has ended, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)


def _usage() -> str:
    rows = "\n".join(f"  {name:<10}{purpose}" for name, (_, purpose) in COMMANDS.items())
    return f"usage: refinenet COMMAND ...\n\n{rows}\n\nEach has a --help of its own."
