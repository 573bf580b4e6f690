"""Options that are needed before the options are parsed."""

import argparse
from pathlib import Path

import yaml


def chosen(arguments: list[str], key: str) -> str | None:
    """Value of an option that is needed before the options are parsed: of `--KEY`, or KEY in the last recipe that has it.

    Args:
        arguments: A command and its options, with recipes as `--config FILE`.
        key: Name of the option, such as `task`.

    Returns:
        The value; None if it is not given.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=f"refinenet {arguments[0]}")
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument(f"--{key}", dest="chosen")
    given, _ = parser.parse_known_args(arguments[1:])
    return next(filter(None, [given.chosen, *(key_of(Path(file), key) for file in reversed(given.config))]), None)


def key_of(recipe: Path, key: str) -> str | None:
    """Value of a top-level key of a recipe; None if there is none, or the file cannot be read as YAML."""
    try:
        content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None  # the command's parser reports the error
    return content.get(key) if isinstance(content, dict) else None
