"""A table as Markdown, CSV, LaTeX or HTML."""

import csv
import io
from pathlib import Path
from typing import Any

from tabulate import tabulate

from experiments.ablation.records import Estimate, Report, Row

FORMATS = ("markdown", "csv", "latex", "html")
MINUS = "\N{MINUS SIGN}"


def render(report: Report, form: str = "markdown") -> str:
    """The table and its notes in one of `FORMATS`; CSV has no notes, and one column for each number."""
    if form == "csv":
        return _csv(report)
    header, rows = _cells(report)
    right = ("left", *["right"] * (len(header) - 1))
    if form == "latex":
        body = tabulate(rows, header, tablefmt="latex_booktabs", colalign=right, disable_numparse=True)
        return (
            body.replace("±", r"$\pm$").replace(MINUS, "$-$") + "\n" + "\n".join(f"% {note}" for note in notes(report)) + "\n"
        )
    if form == "html":
        body = tabulate(rows, header, tablefmt="html", colalign=right, disable_numparse=True)
        return body + "\n" + "\n".join(f"<p>{_escape(note)}</p>" for note in notes(report)) + "\n"
    body = tabulate(rows, header, tablefmt="pipe", colalign=right, disable_numparse=True)
    table = report.table
    head = f"## {table.title}: {report.recipe}\n\n{table.claim}\n({table.source})\n"
    return "\n".join([head, body, "", *(f"{note}\n".replace("Warning:", "**Warning:**", 1) for note in notes(report))])


def write(report: Report, directory: str | Path) -> list[Path]:
    """Write TABLE@RECIPE.md, .csv and .png.

    Returns:
        The files' paths.
    """
    from experiments.ablation.plot import plot  # matplotlib takes a second that the other uses need not wait for

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"{report.table.name}@{report.recipe}"
    files = [directory / f"{stem}{suffix}" for suffix in (".md", ".csv", ".png")]
    files[0].write_text(render(report, "markdown"), encoding="utf-8")
    files[1].write_text(render(report, "csv"), encoding="utf-8", newline="")
    plot(report, files[2])
    return files


def _cells(report: Report) -> tuple[list[str], list[list[str]]]:
    header = ["network", "mIoU %", "seeds", "difference"]
    header += ["paper %"] if report.has_paper else []
    header += ["multi-scale %"] if report.table.multi_scale else []
    header += ["paper, multi-scale %"] if report.has_paper_multi_scale else []
    header += ["parameters", "training"]
    rows = []
    for row in report.rows:
        cells = [row.cell.label, _estimate(row.miou) or "missing", f"{len(row.miou.values)}/{len(report.seeds)}"]
        cells.append("reference" if row.cell.name == report.reference else _difference(row))
        if report.has_paper:
            cells.append("" if row.paper is None else f"{row.paper:.1f}")
        if report.table.multi_scale:
            cells.append(_estimate(row.multi_scale) or "missing")
        if report.has_paper_multi_scale:
            cells.append("" if row.paper_multi_scale is None else f"{row.paper_multi_scale:.1f}")
        cells.append("" if row.parameters is None else f"{row.parameters / 1e6:.2f} M")
        cells.append("" if row.seconds is None else duration(row.seconds))
        rows.append(cells)
    return header, rows


def _estimate(estimate: Estimate, sign: str = "") -> str:
    if estimate.mean is None:
        return ""
    spread = "" if estimate.spread is None else f" ± {estimate.spread:.1f}"
    return f"{estimate.mean:{sign}.1f}".replace("-", MINUS) + spread


def _difference(row: Row) -> str:
    text = _estimate(row.difference, "+")
    pairs = len(row.difference.values)
    return f"{text} ({pairs} of {len(row.miou.values)})" if text and pairs < len(row.miou.values) else text


def duration(seconds: float) -> str:
    """55 s, 3 min 20 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def notes(report: Report) -> list[str]:
    """What a reader must know to judge the table, one paragraph each."""
    reference = report.table.cells[report.reference].label
    several = len(report.seeds) > 1
    seeds = f"seeds {', '.join(map(str, report.seeds))}" if several else f"seed {report.seeds[0]}"
    spread = "mean ± sample standard deviation over seeds" if several else "one seed, so no spread"
    paired = "in points, paired by seed" if several else "in points"
    texts = [
        f"mIoU on the split {report.split}, {seeds}; {spread}. Difference: {paired}, to the row “{reference}”. "
        "Training: mean time of one run."
    ]
    if report.table.multi_scale:
        scales = ", ".join(f"{scale:g}" for scale in report.table.multi_scale)
        texts.append(f"multi-scale %: the same networks with probabilities averaged over the scales {scales}.")
    if report.has_paper:
        settings = [f"{name} {value}" for name, value in report.table.settings.get(report.recipe, {}).items()]
        where = f" (all rows with {', '.join(settings)})" if settings else ""
        texts.append(f"paper %: mIoU printed in {report.table.source}{where}; blank where the paper has no such figure.")
    texts += [text for text in [_provenance(report.records)] if text]
    texts += [f"Not there: {'; '.join(report.missing)}."] if report.missing else []
    texts += [f"Warning: {warning}." for warning in report.warnings]
    return texts


def _provenance(records: list[dict]) -> str:
    revisions: set[str] = set()
    for record in records:
        git = record.get("git") or {}
        revision = str(git.get("revision") or "unknown")[:10]
        revisions.add(revision + (" with uncommitted changes" if git.get("dirty") else ""))
    devices = {f"{record.get('device') or 'unknown'}{_times(record.get('world_size'))}" for record in records}
    if not records:
        return ""
    return f"Git revision: {', '.join(sorted(revisions))}. Device: {'; '.join(sorted(devices))}."


def _times(world_size: Any) -> str:
    return f" x {world_size}" if isinstance(world_size, int) and world_size > 1 else ""


def _csv(report: Report) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header = ["cell", "label", "seeds", "miou_mean", "miou_sd", "difference_mean", "difference_sd"]
    header += ["paper"] if report.has_paper else []
    header += ["multi_scale_mean", "multi_scale_sd"] if report.table.multi_scale else []
    header += ["paper_multi_scale"] if report.has_paper_multi_scale else []
    writer.writerow([*header, "parameters", "training_seconds", *(f"miou_seed{seed}" for seed in report.seeds)])
    for row in report.rows:
        numbers: list[Any] = [row.miou.mean, row.miou.spread, row.difference.mean, row.difference.spread]
        numbers += [row.paper] if report.has_paper else []
        numbers += [row.multi_scale.mean, row.multi_scale.spread] if report.table.multi_scale else []
        numbers += [row.paper_multi_scale] if report.has_paper_multi_scale else []
        numbers += [row.parameters, row.seconds, *(row.miou.values.get(seed) for seed in report.seeds)]
        texts = ["" if number is None else f"{number:.10g}" for number in numbers]
        writer.writerow([row.cell.name, row.cell.label, len(row.miou.values), *texts])
    return stream.getvalue()


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
