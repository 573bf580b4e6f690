"""Contact sheet of continuous values: samples of a dataset in a single figure, with a color bar and a histogram."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from refinenet_pl.datasets.base import ValueDataset
from refinenet_pl.datasets.values import Values
from refinenet_pl.visualization.contact_sheet import MIN_HEIGHT, PANEL, TITLES
from refinenet_pl.visualization.fonts import figure_names, show_literally
from refinenet_pl.visualization.pixels import shown_pixels
from refinenet_pl.visualization.values import color_limits, color_map, colorize_values, label_palette

BAR, CHART = 0.9, 4.2  # Inches.


def value_sheet(dataset: ValueDataset, number: int = 4) -> Figure:
    """Plot evenly spaced samples of a split as image and values, next to a histogram of each channel or the shares of labels.

    Args:
        dataset: The split.
        number: Max number of samples.
    """
    values = dataset.values
    indices = np.linspace(0, len(dataset) - 1, min(number, len(dataset)), dtype=int).tolist()
    samples = [(shown_pixels(image), target) for image, target in map(dataset.read, indices)]
    known = np.concatenate([target.reshape(-1, len(values)) for _, target in samples])
    limits = color_limits(known, values)

    heights = [PANEL * image.shape[0] / image.shape[1] for image, _ in samples]
    height = max(sum(heights), MIN_HEIGHT)
    figure = Figure(figsize=(2 * PANEL + BAR + CHART, height + TITLES), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(2 * PANEL + BAR, CHART))[0]
    left.suptitle(f"{dataset.title}, {dataset.split}: {len(samples)} of {len(dataset):,} samples")
    grid = left.subplots(len(samples), 2, squeeze=False, height_ratios=heights)
    for axis, title in zip(grid[0], ("image", "values, gray if unknown"), strict=True):
        axis.set_title(title)
    for row, index, (image, target) in zip(grid, indices, samples, strict=True):
        row[0].imshow(image)
        row[1].imshow(colorize_values(target, values, limits), interpolation="nearest")
        row[0].set_ylabel(*figure_names([dataset.name(index)]), fontsize=8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    unit = f" in {values.unit}" if values.unit else ""
    if values.kind not in ("normals", "labels"):
        left.colorbar(ScalarMappable(Normalize(*limits), color_map(values)), ax=grid[:, 1], label=f"value{unit}", shrink=0.8)

    shown = f"of the {len(samples)} sample{'s' * (len(samples) > 1)} shown"
    if values.kind == "labels":
        right.suptitle(f"share of the pixels {shown}")
        _plot_shares(right.subplots(), known, values)
        show_literally(figure)
        return figure
    right.suptitle(f"values{unit} {shown}, log scale")
    names = figure_names(list(values.names), length=24)
    for channel, axis in enumerate(right.subplots(len(values), 1, squeeze=False)[:, 0]):
        found = known[:, channel][~np.isnan(known[:, channel])]
        axis.hist(found, 40, color="0.45", log=True)
        unknown = 1 - found.size / len(known)
        axis.set_title(f"{names[channel]}: {unknown:.1%} unknown", fontsize=9)
        axis.set_yticks([])
        axis.tick_params(labelsize=8)
        axis.spines[["top", "left", "right"]].set_visible(False)
    show_literally(figure)
    return figure


def _plot_shares(axis: Axes, known: np.ndarray, values: Values) -> None:
    """Plot the share of each label, in its color, as bars; `known` is float (pixels, labels), NaN where unknown."""
    shares, unknown = (known == 1).mean(0), np.isnan(known).mean(0)
    bars = axis.barh(range(len(values)), shares, color=np.array(label_palette(values)) / 255)
    texts = [f"{share:.1%}, {part:.1%} unknown" for share, part in zip(shares, unknown, strict=True)]
    axis.bar_label(bars, texts, padding=3, fontsize=8)
    axis.set_yticks(range(len(values)), figure_names(list(values.names), length=24))
    axis.invert_yaxis()
    axis.set_xlim(0, 1.6 * max(shares.max(), 0.01))
    axis.set_xticks([])
    axis.spines[["top", "bottom", "right"]].set_visible(False)
