"""`wandb`: writes a view and a report of a table to Weights & Biases."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from jsonargparse import ArgumentParser, Namespace

from refinenet_pl.ablation.tables import TableError, read_table
from refinenet_pl.catalog import find_recipe, find_table
from refinenet_pl.cli.recipe_facts import configuration_of, primary_score_of
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.registry import find_any_dataset
from refinenet_pl.errors import CatalogError, DataError, MissingPackageError
from refinenet_pl.metrics.registry import KINDS
from refinenet_pl.report.wandb_panels import Compared, WorkspaceError
from refinenet_pl.report.wandb_report import build_report, report_spec
from refinenet_pl.report.wandb_save import connect, find_project, logged_names, save_report, save_workspace
from refinenet_pl.report.wandb_workspace import build_workspace, view_key, view_spec
from refinenet_pl.tracking.log_options import LogOptions

EXAMPLES = """\
examples:
  refinenet wandb workspace chained_pooling --on camvid
  refinenet wandb workspace cascade --on nyudv2 --project my-team/refinenet_pl
  refinenet wandb workspace cascade --on nyudv2 --dry_run

The same command again replaces the view and the report of the same table and recipe.
"""


def main(arguments: list[str]) -> None:
    """Run the command; `arguments` begins with `wandb`. The exit code is 2 if the view or the report cannot be written."""
    options = _parse(arguments[1:])
    try:
        _workspace(options.workspace)
    except (CatalogError, DataError, MissingPackageError, TableError, WorkspaceError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _parse(words: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="refinenet wandb", description="Views and reports of runs on Weights & Biases.")
    commands = parser.add_subcommands(dest="command")
    words_ = "save a view and a report of a table: runs by cell with mean and spread over seeds, curves, classes, images"
    workspace = ArgumentParser(description=words_, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    workspace.add_argument("table", metavar="TABLE", help="name of a table, or a YAML file")
    workspace.add_argument("--on", required=True, metavar="RECIPE", help="name of a recipe, or a YAML file")
    help_ = "project of the runs (WANDB_ENTITY or the login's default, and WANDB_PROJECT or refinenet_pl)"
    workspace.add_argument("--project", type=str | None, metavar="ENTITY/PROJECT", help=help_)
    help_ = "print the view and the report as JSON instead, without a server and without names of its runs"
    workspace.add_argument("--dry_run", action="store_true", help=help_)
    commands.add_subcommand("workspace", workspace, help=words_)
    return parser.parse_args(list(words))


def _workspace(options: Namespace) -> None:
    recipe = find_recipe(options.on)
    primary = primary_score_of(recipe)
    (kind,) = (kind for kind in KINDS if kind.SCORES[0] == primary)
    config = configuration_of(recipe)
    classes = _classes(config.get("data.dataset"), config.get("data.root"))
    compared = Compared(read_table(find_table(options.table)), recipe.stem, kind.SCORES, classes)
    if options.dry_run:
        view, report = build_workspace(compared, "", ""), build_report(compared, "", "")
        print(json.dumps({"view": view_spec(view), "report": report_spec(report)}, indent=1))
        return
    api = connect()
    entity, project = find_project(api, options.project)
    compared = replace(compared, logged=logged_names(api, entity, project, compared.group))
    if not compared.logged:
        print(f"{compared.group}: no training in {entity}/{project} yet; repeat this command after one", file=sys.stderr)
    # Built before the first is saved, so that an error leaves nothing half done.
    view, report = build_workspace(compared, entity, project), build_report(compared, entity, project)
    print(f"View: {save_workspace(view, view_key(compared))}")
    print(f"Report: {save_report(api, report)}")


def _classes(dataset: str | None, root: str | None) -> Sequence[str]:
    """Names of the classes that have curves; none if the rarest ones have, which only the data show, or without the data."""
    found = None if dataset is None else find_any_dataset(dataset)
    if found is None or not issubclass(found, SegmentationDataset):
        return ()
    try:
        names = found.classes_of(root).names
    except DataError:
        return ()
    return names if len(names) <= LogOptions().class_curves else ()
