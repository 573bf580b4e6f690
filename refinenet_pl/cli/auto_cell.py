"""Resolution of `--run.cell auto` to a name that follows from the options that differ from the recipe."""

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from refinenet_pl.cli.options import OptionError
from refinenet_pl.tracking.auto_cell import AUTO, cell_name


def resolve_cell(parser: ArgumentParser, config: Namespace) -> str:
    """Name the cell of a run, the same in all of its processes and commands.

    Args:
        parser: Parser of the command.
        config: Parsed configuration of the run, before it is changed.

    Returns:
        `config.run.cell`, or a name from `cell_name` if that is `auto`.

    Raises:
        OptionError: The recipe is not complete without the other options, so that nothing can be compared with it.
    """
    if config.run.cell != AUTO:
        return str(config.run.cell)
    arguments = [argument for file in config.config or [] for argument in ("--config", str(file))]
    # The data's directory, which has no effect on the name, may not exist at the recipe's place.
    arguments += [f"--run.recipe={config.run.recipe}"] + [f"--data.root={config.data.root}"] * (config.data.root is not None)
    exits, parser.exit_on_error = parser.exit_on_error, False
    try:
        recipe = parser.parse_args(arguments)
    except ArgumentError as error:
        raise OptionError(
            f"--run.cell {AUTO} compares a run with its recipe, but {config.run.recipe} is not complete by itself: {error}; "
            "complete the recipe, or name the run with --run.cell NAME"
        ) from None
    finally:
        parser.exit_on_error = exits
    return cell_name(recipe.as_dict(), config.as_dict())
