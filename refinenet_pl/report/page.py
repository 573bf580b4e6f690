"""HTML report of groups of runs: one self-contained page that loads no other files."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from refinenet_pl.ablation.figures import Report
from refinenet_pl.ablation.rendering import Entry, entries, notes
from refinenet_pl.metrics.confusion import Scores
from refinenet_pl.metrics.score import Score
from refinenet_pl.report import charts
from refinenet_pl.report.collect import ERROR, IMAGE, LABEL, PREDICTION, Group
from refinenet_pl.report.templates import FOLDER, template


def build_page(groups: list[Group], title: str) -> str:
    """Render the page.

    Args:
        groups: Groups of runs, one section each.
        title: Heading of the page.

    Raises:
        MissingPackageError: jinja2 is not installed.
    """
    numbers = count()
    return template("page.html.jinja", autoescape=True).render(
        title=title,
        sections=[_section(group, numbers) for group in groups],
        style=(FOLDER / "page.css").read_text(),
        script=(FOLDER / "page.js").read_text(),
    )


@dataclass(frozen=True)
class Key:
    """Legend entry of a cell in the charts: label, color and marker glyph."""

    label: str
    color: str
    glyph: str


def _section(group: Group, numbers: Iterator[int]) -> dict[str, Any]:
    report, label = group.report, group.report.score.label
    header, rows = entries(report)
    scores, score_rows = _scores(group)
    plotted = {
        "Difference from the reference, with 95% confidence intervals": charts.differences(report),
        f"{report.primary.label} by epoch: mean and individual seeds": charts.curves(group),
        f"{label} vs. parameters": charts.parameters(report),
        f"{label} vs. training speed": charts.speed(report),
    }
    return {
        "id": re.sub(r"[^\w-]", "-", group.name),
        "name": group.name,
        "table": report.table,
        "recipe": report.recipe,
        "split": report.split,
        "header": header,
        "rows": [
            {"entries": row, "missing": not source.score.values, "key": key}
            for row, source, key in zip(rows, report.rows, _keys(report), strict=True)
        ],
        "charts": {heading: _inline(svg, next(numbers)) for heading, svg in plotted.items() if svg},
        "heat": _heat(group),
        "classes": group.classes,
        "scores": scores,
        "score_rows": score_rows,
        "lower": [score.label for score in scores if not score.higher_is_better],
        "samples": _samples(group),
        "legend": _legend(group),
        "notes": notes(report),
    }


def _keys(report: Report) -> list[Key]:
    styles = [charts.style_of(place) for place in range(len(report.rows))]
    return [
        Key(row.cell.label, color, charts.MARKERS[marker]) for row, (color, marker) in zip(report.rows, styles, strict=True)
    ]


def _inline(svg: str, number: int) -> str:
    """Prefix the IDs in a chart, because they must be unique on the page."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="c{number}-\1"', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>c{number}-", svg)


def _heat(group: Group) -> list[tuple[str, list[float | None]]]:
    """IoU by class of each row with scores."""
    rows = [(row.cell.label, [group.iou(row, name) for name in group.classes]) for row in group.report.rows]
    return [(label, values) for label, values in rows if any(value is not None for value in values)]


def _scores(group: Group) -> tuple[list[Score], list[tuple[str, list[Entry]]]]:
    """Scores of continuous values, and their means over seeds of each row with scores; both empty for classes."""
    if group.kind is Scores:
        return [], []
    found = [(row.cell.label, [(score, group.mean(row, score)) for score in group.kind.SCORES]) for row in group.report.rows]
    return list(group.kind.SCORES), [
        (label, [Entry("–") if value is None else Entry(score.format(value), value) for score, value in values])
        for label, values in found
        if any(value is not None for _, value in values)
    ]


def _samples(group: Group) -> list[dict[str, Any]]:
    """Sample images with the ground truth and each row's prediction, followed by its error if there is an image of it."""
    by_row = [(row.cell.label, group.samples(row)) for row in group.report.rows]
    names = sorted({name for _, stems in by_row for name in stems})
    samples = []
    for name in names:
        stems = {label: found[name] for label, found in by_row if name in found}
        first = next(iter(stems.values()))
        shown = [("image", _data(first, IMAGE)), ("ground truth", _data(first, LABEL))]
        for label, stem in stems.items():
            shown += [(label, _data(stem, PREDICTION)), (f"{label}: error", _data(stem, ERROR))]
        samples.append({"name": name, "images": [(label, data) for label, data in shown if data]})
    return samples


def _legend(group: Group) -> list[tuple[str, str]]:
    """Name and color of each class in the sample images, from the palette of the masks; empty for continuous values."""
    if group.kind is not Scores:
        return []
    masks = [
        path for row in group.report.rows for stem in group.samples(row).values() for path in _files(stem, LABEL, PREDICTION)
    ]
    present: set[int] = set()
    palette: list[int] = []
    for path in masks:
        with Image.open(path) as mask:
            present |= set(np.unique(np.asarray(mask)).tolist())
            palette = mask.getpalette() or palette
    names = dict(enumerate(group.classes))
    colors = {index: "#{:02x}{:02x}{:02x}".format(*palette[3 * index : 3 * index + 3]) for index in present}
    return [(names.get(index, "void"), colors[index]) for index in sorted(present)]


def _files(stem: Path, *endings: str) -> list[Path]:
    paths = [stem.with_name(stem.name + ending) for ending in endings]
    return [path for path in paths if path.is_file()]


def _data(stem: Path, ending: str) -> str | None:
    """Encode a file as a data URL; None if it does not exist."""
    for path in _files(stem, ending):
        kind = "jpeg" if path.suffix == ".jpg" else "png"
        return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return None
