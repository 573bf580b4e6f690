"""Charts of the HTML report, as SVG that inherits its colors from the page."""

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refinenet_pl.ablation.figures import Report
from refinenet_pl.ablation.scores import axis_label, direction
from refinenet_pl.report.collect import Group, images_per_second

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

# Okabe and Ito's color-blind-safe palette and three more colors, legible on black and on white; shapes differ as well.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F", "#A05A2C", "#3FA796")
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "*": "★", "<": "◀", ">": "▶"}
# Placeholders that `_svg` replaces with the page's colors.
_INK, _GRID = "#010203", "#040506"
_STYLE: "dict[RcKeyType, Any]" = {
    "svg.fonttype": "none", "svg.hashsalt": "refinenet_pl", "font.family": "sans-serif", "font.size": 10,
    "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
    "axes.spines.top": False, "axes.spines.right": False, "grid.color": _GRID, "axes.axisbelow": True,
}  # fmt: skip
_WIDTH = 4.7


def style_of(place: int) -> tuple[str, str]:
    """Color and marker of the cell at this index of its table."""
    return COLORS[place % len(COLORS)], list(MARKERS)[place % len(MARKERS)]


def differences(report: Report) -> str | None:
    """Plot differences from the reference with confidence intervals; None if there are no differences."""
    score = report.score
    rows = [(place, row, mean) for place, row in enumerate(report.rows) if (mean := row.difference.mean) is not None]
    if not rows:
        return None
    with rc_context(_STYLE):
        labels = [textwrap.fill(row.cell.label, 24) for _, row, _ in rows]
        lines = sum(max(2, label.count("\n") + 1) for label in labels)
        figure, axes = _figure(0.9 + 0.21 * lines)
        axes.axvline(0, color=_INK, linewidth=1)
        for y, (place, row, mean) in enumerate(rows):
            color, marker = style_of(place)
            if row.significance:
                axes.plot([row.significance.low, row.significance.high], [y, y], color=color, linewidth=2)
            axes.plot([mean] * 2, [y - 0.26, y + 0.26], color=color, linewidth=2.5)
            axes.plot(list(row.difference.values.values()), [y] * len(row.difference.values), marker, color=color, markersize=5)
        values = [value for _, row, _ in rows for value in row.difference.values.values()] + [0.0]
        # Limits ignore the intervals, which are many times wider than the differences with two seeds.
        room = 0.6 * (max(values) - min(values)) or score.margin
        axes.set_xlim(min(values) - room, max(values) + room)
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        unit = f", {score.difference_unit}" if score.difference_unit else ""
        axes.set_xlabel(f"difference in {score.label}{unit}{direction(score)}")
        return _svg(figure)


def curves(group: Group) -> str | None:
    """Plot the primary score by epoch; None if no run was evaluated more than once during training."""
    plotted = [(place, group.curves(row)) for place, row in enumerate(group.report.rows)]
    if not any(len(curve) > 1 for _, found in plotted for curve in found):
        return None
    with rc_context(_STYLE):
        figure, axes = _figure(3.2)
        for place, found in plotted:
            color, marker = style_of(place)
            for curve in found:
                axes.plot(*zip(*curve, strict=True), color=color, linewidth=0.8, alpha=0.45)
            by_epoch: dict[int, list[float]] = {}
            for epoch, value in (point for curve in found for point in curve):
                by_epoch.setdefault(epoch, []).append(value)
            mean = [
                (epoch, sum(values) / len(values)) for epoch, values in sorted(by_epoch.items()) if len(values) == len(found)
            ]
            if mean:
                every = max(1, len(mean) // 8)
                axes.plot(*zip(*mean, strict=True), marker, linestyle="-", color=color, markersize=5, markevery=every)
        axes.locator_params(axis="x", integer=True)
        axes.grid()
        axes.set(xlabel="epoch", ylabel=axis_label(group.report.primary, "val"))
        return _svg(figure)


def parameters(report: Report) -> str | None:
    """Plot the score against the number of parameters; None if fewer than two rows have both."""
    millions = [None if row.parameters is None else row.parameters / 1e6 for row in report.rows]
    return _cost(report, millions, "parameters, millions")


def speed(report: Report) -> str | None:
    """Plot the score against training speed; None if fewer than two rows have both."""
    return _cost(report, [images_per_second(row) for row in report.rows], "training, images per second")


def _cost(report: Report, costs: Sequence[float | None], label: str) -> str | None:
    points = [
        (style_of(place), cost, list(row.score.values.values()), mean)
        for place, (cost, row) in enumerate(zip(costs, report.rows, strict=True))
        if cost is not None and (mean := row.score.mean) is not None
    ]
    if len(points) < 2:
        return None
    with rc_context(_STYLE):
        figure, axes = _figure(3.2)
        for (color, marker), cost, values, mean in points:
            axes.plot([cost, cost], [min(values), max(values)], color=color, linewidth=1.5, alpha=0.6)
            axes.plot([cost], [mean], marker, color=color, markersize=8)
        axes.margins(0.12)
        axes.grid()
        axes.set(xlabel=label, ylabel=axis_label(report.score, report.split))
        return _svg(figure)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor").replace(_GRID, "var(--line)")
