"""Saved view of the runs of a table in W&B: grouped by cell, with mean and standard deviation over seeds."""

import hashlib
import json
import re
from typing import Any

from refinenet_pl.report.wandb_panels import Compared, columns, filters, libraries, sections

# Sections that are open when the view is opened.
_OPEN = ("Scores", "Images")
# wandb-workspaces refuses symbols, such as +, in the name of a view.
_SYMBOLS = re.compile(r"[^\w.@ -]")


def build_workspace(compared: Compared, entity: str, project: str) -> Any:
    """Build the view, a `wandb_workspaces.workspaces.Workspace`.

    Args:
        compared: The runs.
        entity: User or team that owns the project.
        project: The project.

    Raises:
        MissingPackageError: wandb-workspaces is not installed.
    """
    views, _, expr = libraries()
    parts = [
        views.Section(
            name=title,
            panels=panels,
            is_open=title in _OPEN,
            layout_settings=views.SectionLayoutSettings(columns=2, rows=max(1, (len(panels) + 1) // 2)),
        )
        for title, panels in sections(compared).items()
    ]
    order = expr.Ordering(expr.Summary(compared.best), ascending=not compared.scores[0].higher_is_better)
    return views.Workspace(
        entity=entity,
        project=project,
        name=_SYMBOLS.sub("-", compared.group),
        sections=parts,
        settings=views.WorkspaceSettings(max_runs=200),
        runset_settings=views.RunsetSettings(
            filters=filters(compared), groupby=[expr.Config("cell")], order=[order], pinned_columns=columns(compared)
        ),
    )


def view_key(compared: Compared) -> str:
    """Key of the view in its address, `?nw=KEY`: the same for each view of this table and recipe, so that it is replaced."""
    return hashlib.sha256(compared.group.encode()).hexdigest()[:11]


def view_spec(workspace: Any) -> dict[str, Any]:
    """The view as plain data, as sent to W&B."""
    return json.loads(workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
