"""Readable scores: a table of the classes and a figure of the confusion matrix."""

import csv
import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tabulate import tabulate

from refinenet_pl.files import replaced
from refinenet_pl.visualization.fonts import figure_names, one_line, shorten, show_literally

PER_CLASS = ("class", "iou", "boundary_iou", "accuracy", "share_of_pixels")
"""Columns of `per_class_rows`."""


def per_class_table(evaluation: dict) -> str:
    """Format IoU, boundary IoU, accuracy and share of labeled pixels of each class, and their means, in percent.

    Args:
        evaluation: Dict of `Scores`.
    """
    rows = [[shorten(one_line(name), 40), *map(_percent, values)] for name, *values in per_class_rows(evaluation)]
    means = ["mean", *(_percent(evaluation.get(name)) for name in ("miou", "boundary_miou", "mean_accuracy")), ""]
    overall = ["all pixels", "", "", _percent(evaluation["pixel_accuracy"]), _percent(1.0)]
    header = ["class", "IoU %", "boundary IoU %", "accuracy %", "pixels %"]
    return tabulate([*rows, means, overall], header, colalign=("left", *["right"] * 4), disable_numparse=True)


def save_scores(stem: Path, evaluation: dict) -> list[Path]:
    """Write the scores of each class as fractions (STEM.csv) and the confusion matrix (STEM-confusion.png), atomically.

    Args:
        stem: Path of the files without suffix and extension.
        evaluation: Dict of `Scores`.

    Returns:
        The two files.
    """
    table, figure = stem.with_name(f"{stem.name}.csv"), stem.with_name(f"{stem.name}-confusion.png")
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([PER_CLASS, *per_class_rows(evaluation)])
    with replaced(table, durable=False) as stream:
        stream.write(lines.getvalue().encode())
    with replaced(figure, durable=False) as stream:
        plot_confusion(evaluation).savefig(stream, format="png", dpi=150)
    return [table, figure]


def plot_confusion(evaluation: dict) -> Figure:
    """Plot the confusion matrix in percent of the pixels of each class (row); predictions of void are the last column."""
    counts = np.array(evaluation["confusion"])
    names = figure_names(list(evaluation["iou"]), length=32)
    predictions = names + ["void"] * (counts.shape[1] - len(names))
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    many = len(names) > 40
    side = 9 if many else 2.6 + 0.42 * len(names)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    size = 3.2 if many else 8
    axis.set_xticks(range(len(predictions)), predictions, rotation=90, fontsize=size)
    axis.set_yticks(range(len(names)), names, fontsize=size)
    axis.set(xlabel="prediction", ylabel="label")
    axis.tick_params(length=1 if many else 3)
    if not many:
        for row, column in zip(*np.nonzero(share >= 0.5), strict=True):
            color = "white" if share[row, column] > 55 else "black"
            axis.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, shrink=0.8, label="% of the class's pixels")
    show_literally(figure)
    return figure


def per_class_rows(evaluation: dict) -> list[tuple]:
    """Return the values of `PER_CLASS` for each class, as fractions; missing ones are None."""
    labeled = np.array(evaluation["confusion"]).sum(1)
    shares = (labeled / max(1, labeled.sum())).tolist()
    boundary = evaluation.get("boundary_iou") or {}
    return [
        (name, iou, boundary.get(name), evaluation["accuracy"][name], share)
        for (name, iou), share in zip(evaluation["iou"].items(), shares, strict=True)
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
