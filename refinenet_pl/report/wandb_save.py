"""Names of logged values, and storage of views and reports, on a W&B server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from refinenet_pl.report.wandb_panels import WorkspaceError, libraries

# Runs whose names of values are read; the cells of a table log the same names.
_READ = 20


def connect() -> Any:
    """Connect to the server with the stored login, without a prompt; a `wandb.Api`.

    Raises:
        WorkspaceError: There is no login, W&B is disabled, or the server does not respond.
    """
    if (mode := os.environ.get("WANDB_MODE", "online")) in ("disabled", "dryrun", "offline"):
        raise WorkspaceError(f"WANDB_MODE is {mode}; unset it, because views and reports are on a server, or use --dry_run")
    # Addresses are printed once, by the command.
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb  # slow to import and only needed here

    with _explained("login", "run wandb login, or set WANDB_API_KEY and WANDB_BASE_URL"):
        if not wandb.login(prompt=False, verify=False):
            raise WorkspaceError("not logged in to W&B; run wandb login or set WANDB_API_KEY, or use --dry_run")
        return wandb.Api()


def find_project(api: Any, name: str | None) -> tuple[str, str]:
    """Entity and project of ENTITY/PROJECT; by default those that runs are logged to.

    Raises:
        WorkspaceError: The name does not have this form, or the login has no default entity.
    """
    if name is None:
        with _explained("default entity", "use --project ENTITY/PROJECT"):
            entity = os.environ.get("WANDB_ENTITY") or api.default_entity
        name = f"{entity or ''}/{os.environ.get('WANDB_PROJECT') or 'refinenet_pl'}"
    parts = name.split("/")
    if len(parts) != 2 or not all(parts):
        raise WorkspaceError(f"project {name!r} does not have the form ENTITY/PROJECT; use --project ENTITY/PROJECT")
    return parts[0], parts[1]


def logged_names(api: Any, entity: str, project: str, group: str) -> frozenset[str]:
    """Names of the values and media that the first trainings of a group have logged; empty if there are none.

    Raises:
        WorkspaceError: The project does not exist, or the server does not respond.
    """
    with _explained(f"project {entity}/{project}", _PROJECT_FIX):
        runs = api.runs(f"{entity}/{project}", {"group": group, "jobType": "train"}, per_page=_READ, lazy=False)
        return frozenset(name for run in islice(runs, _READ) for name in run.summary_metrics)


def save_workspace(workspace: Any, key: str) -> str:
    """Save a view and return its address. A view with the same key is replaced.

    Args:
        workspace: The view, of `build_workspace`.
        key: Its key, of `view_key`.

    Raises:
        WorkspaceError: The server refuses the view.
    """
    views, *_ = libraries()
    with _explained(f"view {workspace.name}", "check that you may write to the project"):
        workspace._internal_name = f"nw-{key}-v"
        try:
            workspace._internal_id = views.internal.get_view_dict(workspace.entity, workspace.project, key)["id"]
        except ValueError as error:
            if "not found in project" not in str(error):  # the message about the view, not the one about the project
                raise
        return workspace.save().url


def save_report(api: Any, report: Any) -> str:
    """Save a report and return its address. A report of the project with the same title is replaced.

    Args:
        api: The connection.
        report: The report, of `build_report`.

    Raises:
        WorkspaceError: The project does not exist, or the server refuses the report.
    """
    with _explained(f"report {report.title!r}", "check that you may write to the project"):
        same = (found.id for found in api.reports(f"{report.entity}/{report.project}") if found.display_name == report.title)
        report.id = next(same, "")
        return report.save().url


_PROJECT_FIX = "check the name, train a run first, or log in to an account with access (wandb login)"


@contextmanager
def _explained(thing: str, fix: str) -> Iterator[None]:
    """Turn any error of W&B's clients, which raise those of several libraries, into one line with its fix."""
    try:
        yield
    except WorkspaceError:
        raise
    except Exception as error:
        raise WorkspaceError(f"W&B: {thing}: {' '.join(str(error).split())}; {fix}") from error
