"""Rendering of a table as Markdown, CSV or LaTeX."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from refinenet_pl.ablation.figures import Estimate, Report, Row
from refinenet_pl.ablation.scores import direction
from refinenet_pl.files import replaced
from refinenet_pl.metrics.score import Score

FORMATS = ("markdown", "csv", "latex")
MINUS = "\N{MINUS SIGN}"


def render(report: Report, form: str = "markdown") -> str:
    """Render the table with its notes.

    Args:
        report: The figures.
        form: One of `FORMATS`. CSV has one column per number and no notes.
    """
    if form == "csv":
        return _csv(report)
    header, content = entries(report)
    rows = [[entry.text for entry in row] for row in content]
    right = ("left", *["right"] * (len(header) - 1))
    if form == "latex":
        body = tabulate(rows, header, tablefmt="latex_booktabs", colalign=right, disable_numparse=True)
        return (
            body.replace("±", r"$\pm$").replace(MINUS, "$-$") + "\n" + "\n".join(f"% {note}" for note in notes(report)) + "\n"
        )
    body = tabulate(rows, header, tablefmt="pipe", colalign=right, disable_numparse=True)
    table = report.table
    head = f"## {table.title}: {report.recipe}\n\n{table.claim}\n(Source: {table.source})\n"
    return "\n".join([head, body, "", *(f"{note}\n".replace("Warning:", "**Warning:**", 1) for note in notes(report))])


def write(report: Report, directory: str | Path) -> list[Path]:
    """Write TABLE@RECIPE.md, .csv and .png; scores other than the primary one of the records are appended to the name.

    Returns:
        Paths of the files.
    """
    from refinenet_pl.ablation.plot import plot  # matplotlib is slow to import and only needed here

    directory = Path(directory)
    stem = f"{report.table.name}@{report.recipe}" + ("" if report.score == report.primary else f"-{report.score.name}")
    files = [directory / f"{stem}{suffix}" for suffix in (".md", ".csv", ".png")]
    for file, form in zip(files, ("markdown", "csv"), strict=False):
        with replaced(file) as stream:
            stream.write(render(report, form).encode())
    with replaced(files[2]) as stream:
        plot(report, stream)
    return files


@dataclass(frozen=True)
class Entry:
    """Content of one field of the table.

    Attributes:
        text: Formatted text.
        value: Sort key; None if the field is empty.
    """

    text: str
    value: float | None = None


def entries(report: Report) -> tuple[list[str], list[list[Entry]]]:
    """Format the table.

    Returns:
        The header, and the fields of each row.
    """
    score = report.score
    header = ["network", score.heading, "seeds", "difference", "significant"]
    header += ["paper %"] if report.has_paper else []
    header += [_multi_scale(score)] if report.table.multi_scale else []
    header += ["paper, multi-scale %"] if report.has_paper_multi_scale else []
    header += ["parameters", "training"]
    rows = []
    for place, row in enumerate(report.rows):
        cells = [
            Entry(row.cell.label, place),
            Entry(_estimate(score, row.score) or _absent(row), row.score.mean),
            Entry(_seeds(row, report), len(row.score.values)),
        ]
        is_reference = row.cell.name == report.reference
        cells.append(Entry("reference", 0.0) if is_reference else Entry(_difference(score, row), row.difference.mean))
        p = None if row.significance is None else row.significance.adjusted_p
        cells.append(Entry("" if is_reference else verdict(row), p))
        if report.has_paper:
            cells.append(_figure(score, row.paper))
        if report.table.multi_scale:
            cells.append(Entry(_estimate(score, row.multi_scale) or "missing", row.multi_scale.mean))
        if report.has_paper_multi_scale:
            cells.append(_figure(score, row.paper_multi_scale))
        cells.append(Entry("" if row.parameters is None else f"{row.parameters / 1e6:.2f} M", row.parameters))
        cells.append(Entry("" if row.seconds is None else duration(row.seconds), row.seconds))
        rows.append(cells)
    return header, rows


def _multi_scale(score: Score) -> str:
    return f"multi-scale {score.unit}".rstrip()


def _figure(score: Score, value: float | None) -> Entry:
    return Entry("" if value is None else score.format(value), value)


def _estimate(score: Score, estimate: Estimate, sign: str = "") -> str:
    if estimate.mean is None:
        return ""
    spread = "" if estimate.spread is None else f" ± {score.format(estimate.spread)}"
    return score.format(estimate.mean, sign) + spread


def _difference(score: Score, row: Row) -> str:
    text = _estimate(score, row.difference, "+")
    pairs = len(row.difference.values)
    return f"{text} ({pairs} of {len(row.score.values)})" if text and pairs < len(row.score.values) else text


def verdict(row: Row) -> str:
    """Describe the significance of a row's difference; an empty string if there are no differences."""
    if row.significance is None:
        return "needs two seeds" if row.difference.values else ""
    p = row.significance.adjusted_p
    return f"{'yes' if row.significance.is_shown else 'no'}, p {f'= {p:.3f}' if p >= 0.0005 else '< 0.001'}"


def _absent(row: Row) -> str:
    return next((state for state in ("diverged", "failed") if state in row.unfinished.values()), "missing")


def _seeds(row: Row, report: Report) -> str:
    states = Counter(row.unfinished.values())
    said = [f"{states[state]} {state}" for state in ("diverged", "failed", "stopped", "running") if states[state]]
    return f"{len(row.score.values)}/{len(report.seeds)}" + (f" ({', '.join(said)})" if said else "")


def duration(seconds: float) -> str:
    """Format a duration, for example as 55 s, 3 min 20 s or 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def notes(report: Report) -> list[str]:
    """Notes below the table, one paragraph each."""
    reference = report.table.cells[report.reference].label
    several = len(report.seeds) > 1
    seeds = f"seeds {', '.join(map(str, report.seeds))}" if several else f"seed {report.seeds[0]}"
    spread = "mean ± sample standard deviation over seeds" if several else "one seed, no standard deviation"
    unit = report.score.difference_unit
    difference = [f"in {unit}"] * bool(unit) + ["paired by seed"] * several + [f"relative to “{reference}”"]
    texts = [
        f"{_of(report.score)} on the {report.split} split, {seeds}; {spread}. Difference: {', '.join(difference)}. "
        "Training: mean time per run."
    ]
    if report.compared:
        rows = "one row" if report.compared == 1 else f"{report.compared} rows"
        texts.append(
            f"Significant: paired t-test over seeds, p-values adjusted for {rows} by Holm's method; yes if p < 0.05. "
            "Differences that are not significant may still exist; more seeds are needed to show them."
        )
    if report.table.multi_scale:
        scales = ", ".join(f"{scale:g}" for scale in report.table.multi_scale)
        averaged = "probabilities" if report.primary.name == "miou" else "values"
        texts.append(f"{_multi_scale(report.score)}: the same networks, {averaged} averaged over the scales {scales}.")
    if report.has_paper:
        settings = [f"{name} {value}" for name, value in report.table.settings.get(report.recipe, {}).items()]
        where = f" (all rows with {', '.join(settings)})" if settings else ""
        texts.append(f"paper %: mIoU in {report.table.source}{where}; blank if the paper has no value.")
    texts += [text for text in [_provenance(report.records), _reused(report.rows)] if text]
    texts += [f"Missing: {'; '.join(report.missing)}."] if report.missing else []
    texts += [f"Warning: {warning}." for warning in report.warnings]
    return texts


def _of(score: Score) -> str:
    if score.name == "boundary_miou":
        return "Boundary mIoU, over the pixels within 0.5% of the image diagonal of a class boundary,"
    return score.label + direction(score)


def _provenance(records: list[dict[str, Any]]) -> str:
    revisions: set[str] = set()
    for record in records:
        git = record.get("git") or {}
        revision = str(git.get("revision") or "unknown")[:10]
        revisions.add(revision + (" with uncommitted changes" if git.get("dirty") else ""))
    devices = {f"{record.get('device') or 'unknown'}{_times(record.get('world_size'))}" for record in records}
    if not records:
        return ""
    return f"Git revision: {', '.join(sorted(revisions))}. Device: {'; '.join(sorted(devices))}."


def _reused(rows: list[Row]) -> str:
    named = {}
    for row in rows:
        for twin in (record.get("trained_as") for record in row.records.values()):
            if twin:
                named[row.cell.label] = f"“{row.cell.label}” as {twin['table']}/{twin['cell']}"
    return f"Trained in other tables, with the same configuration and seed: {'; '.join(named.values())}." if named else ""


def _times(world_size: Any) -> str:
    return f" x {world_size}" if isinstance(world_size, int) and world_size > 1 else ""


def _csv(report: Report) -> str:
    stream, name = io.StringIO(), report.score.name
    writer = csv.writer(stream, lineterminator="\n")
    header = ["cell", "label", "seeds", f"{name}_mean", f"{name}_sd", "difference_mean", "difference_sd"]
    header += ["difference_low", "difference_high", "p", "p_holm"]
    header += ["paper"] if report.has_paper else []
    header += ["multi_scale_mean", "multi_scale_sd"] if report.table.multi_scale else []
    header += ["paper_multi_scale"] if report.has_paper_multi_scale else []
    writer.writerow([*header, "parameters", "training_seconds", *(f"{name}_seed{seed}" for seed in report.seeds)])
    for row in report.rows:
        numbers: list[Any] = [row.score.mean, row.score.spread, row.difference.mean, row.difference.spread]
        test = row.significance
        numbers += [None] * 4 if test is None else [test.low, test.high, test.p, test.adjusted_p]
        numbers += [row.paper] if report.has_paper else []
        numbers += [row.multi_scale.mean, row.multi_scale.spread] if report.table.multi_scale else []
        numbers += [row.paper_multi_scale] if report.has_paper_multi_scale else []
        numbers += [row.parameters, row.seconds, *(row.score.values.get(seed) for seed in report.seeds)]
        texts = ["" if number is None else f"{number:.10g}" for number in numbers]
        writer.writerow([row.cell.name, row.cell.label, len(row.score.values), *texts])
    return stream.getvalue()
