"""Report of a table in W&B: the cells, the runs grouped by cell, and the panels of the saved view."""

import json
from typing import Any

from tabulate import tabulate

from refinenet_pl.report.wandb_panels import Compared, columns, filters, libraries, sections

# Max length of a title in W&B.
LONGEST_TITLE = 128


def report_title(compared: Compared) -> str:
    """Title of the report, by which a report of the same table and recipe is found again."""
    return f"{compared.group}: {compared.table.title}"[:LONGEST_TITLE]


def build_report(compared: Compared, entity: str, project: str) -> Any:
    """Build the report, a `wandb_workspaces.reports.v2.Report`. All numbers in it are computed by W&B from the runs.

    Args:
        compared: The runs.
        entity: User or team that owns the project.
        project: The project.

    Raises:
        MissingPackageError: wandb-workspaces is not installed.
    """
    _, reports, _ = libraries()
    table = compared.table
    first, *others = sections(compared).items()
    blocks = [
        reports.P(table.claim),
        reports.TableOfContents(),
        reports.H2("Cells"),
        reports.MarkdownBlock(_cells(compared)),
        reports.H2("Scores"),
        reports.P(
            "Runs are grouped by cell: open a row for its seeds. Numbers, curves and bars are means over seeds, shaded areas "
            "are standard deviations."
        ),
        reports.PanelGrid(runsets=[_runs(compared, entity, project)], panels=first[1]),
    ]
    for title, panels in others:
        grid = reports.PanelGrid(runsets=[_runs(compared, entity, project)], panels=panels, hide_run_sets=True)
        blocks += [reports.H2(title), grid]
    return reports.Report(
        entity=entity,
        project=project,
        title=report_title(compared),
        description=f"{table.source}. Recipe: {compared.recipe}.",
        blocks=blocks,
        width="fluid",
    )


def report_spec(report: Any) -> dict[str, Any]:
    """The report as plain data, as sent to W&B."""
    model = report._to_model()
    names = {"displayName": model.display_name, "description": model.description}
    return names | json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))


def _runs(compared: Compared, entity: str, project: str) -> Any:
    _, reports, _ = libraries()
    order = reports.OrderBy(reports.SummaryMetric(compared.best), ascending=not compared.scores[0].higher_is_better)
    return reports.Runset(
        entity=entity,
        project=project,
        name=compared.group,
        filters=filters(compared),
        groupby=["config.cell"],
        order=[order],
        pinned_columns=["run:displayName", *columns(compared)],
        lock_columns=True,
    )


def _cells(compared: Compared) -> str:
    """The cells as a table in Markdown, with the paper's scores if it has some for the recipe."""
    table = compared.table
    published = table.published.get(compared.recipe, {})
    rows = []
    for cell in table.cells.values():
        changes = ", ".join(f"{key}={value}" for key, value in (cell.network | cell.task | cell.recipe).items())
        mark = " (reference)" if cell.name == table.reference else ""
        given = ", ".join(filter(None, [cell.network_class, changes]))
        row = [cell.name, f"{cell.label}{mark}", given and f"`{given}`", published.get(cell.name, "")]
        rows.append([str(value).replace("|", "\\|") for value in row[: 4 if published else 3]])
    return tabulate(rows, ["cell", "label", "options", "mIoU % in the paper"][: len(rows[0])], "pipe", disable_numparse=True)
