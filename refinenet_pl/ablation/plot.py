"""Plot of a table as a PNG image."""

import textwrap
from typing import BinaryIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from refinenet_pl.ablation.figures import Report
from refinenet_pl.ablation.scores import axis_label

# Okabe and Ito's color-blind-safe palette; shapes differ as well.
BLUE, ORANGE, GRAY = "#0072B2", "#D55E00", "#767676"


def plot(report: Report, file: BinaryIO) -> None:
    """Plot each seed's score, the mean and standard deviation, the reference's mean, and the paper's scores if it has any.

    Args:
        report: The figures.
        file: Binary stream for the PNG.
    """
    rows = report.rows
    labels = [textwrap.fill(row.cell.label + ("" if row.score.values else " (missing)"), 34) for row in rows]
    lines = sum(max(2, label.count("\n") + 1) for label in labels)
    figure = Figure(figsize=(8.0, 1.7 + 0.23 * lines), layout="constrained")
    # Without pyplot, which keeps figures open and may need a display.
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = {"seed": False, "mean": False, "paper": False}
    for y, row in enumerate(rows):
        values, mean = list(row.score.values.values()), row.score.mean
        if mean is not None:
            shown["seed"] = shown["mean"] = True
            spread = row.score.spread or 0.0
            axes.plot([mean - spread, mean + spread], [y, y], color=BLUE, linewidth=2, zorder=3)
            axes.plot([mean] * 2, [y - 0.28, y + 0.28], color=BLUE, linewidth=2.5, zorder=4)
            axes.plot(values, [y] * len(values), "o", color="white", markeredgecolor=BLUE, markersize=6, zorder=5)
        if row.paper is not None:
            shown["paper"] = True
            axes.plot(row.paper, y, "D", color=ORANGE, markersize=7, zorder=2)
    reference = next((row.score.mean for row in rows if row.cell.name == report.reference), None)
    if reference is not None:
        axes.axvline(reference, color=GRAY, linestyle="--", linewidth=1, zorder=1)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.06)
    axes.set_xlabel(axis_label(report.score, report.split))
    figure.suptitle(textwrap.fill(f"{report.table.title}: {report.recipe}", 76), fontsize=11)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    entries = [
        (shown["seed"], Line2D([], [], marker="o", linestyle="", color="white", markeredgecolor=BLUE, label="one seed")),
        (shown["mean"], Line2D([], [], marker="|", markersize=12, markeredgewidth=2.5, color=BLUE, linewidth=2,
                               label="mean ± standard deviation" if len(report.seeds) > 1 else "mean")),
        (reference is not None, Line2D([], [], color=GRAY, linestyle="--", linewidth=1, label="mean of the reference")),
        (shown["paper"], Line2D([], [], marker="D", linestyle="", color=ORANGE, label="paper")),
    ]  # fmt: skip
    handles = [line for wanted, line in entries if wanted]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    figure.savefig(file, format="png", dpi=150)
