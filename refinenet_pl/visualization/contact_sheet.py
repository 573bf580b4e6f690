"""Contact sheet: samples of a dataset in a single figure, with the pixel share of each class."""

from math import ceil, dist

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.visualization.fonts import figure_names, show_literally
from refinenet_pl.visualization.pixels import shown_pixels
from refinenet_pl.visualization.predictions import overlay

# In inches.
PANEL, CHART, ROW, GAP, TITLES, MIN_HEIGHT = 3.2, 3.6, 0.24, 0.1, 0.6, 2.4


def sheet(dataset: SegmentationDataset, number: int = 4) -> Figure:
    """Plot evenly spaced samples of a split as image, mask and overlay, next to a bar chart of their classes.

    The chart is also the color legend. It shows the share of each class in all pixels of the plotted samples.

    Args:
        dataset: The split.
        number: Max number of samples.
    """
    indices = np.linspace(0, len(dataset) - 1, min(number, len(dataset)), dtype=int).tolist()
    samples = [(shown_pixels(image), mask) for image, mask in map(dataset.read, indices)]
    shares = _shares([mask for _, mask in samples], dataset.classes)
    void = _void_color(dataset.classes.palette)

    heights = [PANEL * image.shape[0] / image.shape[1] for image, _ in samples]
    height = max(sum(heights) + GAP * len(heights), MIN_HEIGHT)
    # Split the bars into columns that are not higher than the samples.
    rows = int(height / ROW)
    columns = ceil(len(shares) / rows)
    figure = Figure(figsize=(3 * PANEL + CHART * columns, height + TITLES), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(3 * PANEL, CHART * columns))[0]
    left.suptitle(f"{dataset.title}, {dataset.split}: {len(samples)} of {len(dataset):,} samples")
    grid = left.subplots(len(samples), 3, squeeze=False, height_ratios=heights)
    for axis, title in zip(grid[0], ("image", "mask", "overlay"), strict=True):
        axis.set_title(title)
    for row, index, (image, mask) in zip(grid, indices, samples, strict=True):
        colors = dataset.classes.colorize(mask)
        unknown = (mask == dataset.classes.ignore_index)[..., None]
        row[0].imshow(image)
        row[1].imshow(np.where(unknown, np.array(void, np.uint8), colors), interpolation="nearest")
        row[2].imshow(np.where(unknown, image, overlay(image, colors)))
        row[0].set_ylabel(*figure_names([dataset.name(index)]), fontsize=8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])

    names, palette = figure_names([*dataset.classes.names, "void"], length=32), (*dataset.classes.palette, void)
    right.suptitle(f"share of all pixels of the {len(samples)} sample{'s' * (len(samples) > 1)} shown")
    for column, axis in enumerate(right.subplots(1, columns, squeeze=False)[0]):
        labels = list(shares)[column * rows : (column + 1) * rows]
        colors = np.array([palette[label] for label in labels]) / 255
        _plot_shares(axis, [names[label] for label in labels], colors, [shares[label] for label in labels])
        axis.set_xlim(0, 1.25 * max(shares.values()))
        axis.set_ylim(rows - 0.5, -0.5)
    show_literally(figure)
    return figure


def _plot_shares(axis: Axes, names: list[str], colors: np.ndarray, shares: list[float]) -> None:
    bars = axis.barh(range(len(names)), shares, color=colors, edgecolor="0.4", linewidth=0.5)
    axis.bar_label(bars, [f"{share:.1%}" if share >= 0.001 else "< 0.1%" for share in shares], padding=3, fontsize=8)
    # A color square for each class, because the bar of a rare class is too short to show its color.
    x, y = [-0.03] * len(names), range(len(names))
    transform = axis.get_yaxis_transform()
    axis.scatter(x, y, s=60, marker="s", c=colors, edgecolors="0.4", linewidths=0.5, transform=transform, clip_on=False)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params("y", length=0, pad=14, labelsize=8)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)


def _shares(masks: list[np.ndarray], classes: Classes) -> dict[int, float]:
    """Pixel share of each class that occurs, by id; that of void is last, with the number of classes as its key."""
    labels = np.concatenate([np.where(mask == classes.ignore_index, len(classes), mask).ravel() for mask in masks])
    present, counts = np.unique(labels, return_counts=True)
    return dict(zip(present.tolist(), (counts / len(labels)).tolist(), strict=True))


def _void_color(palette: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
    """Choose the color of void: black, or another color if one of a class is too similar."""
    colors = ((0, 0, 0), (255, 255, 255), (255, 0, 255))
    return next((color for color in colors if min(dist(color, other) for other in palette) > 60), colors[0])
