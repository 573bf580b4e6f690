"""Figure of a sample of a dataset."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.visualization.fonts import figure_names, show_literally
from refinenet_pl.visualization.pixels import shown_pixels

MOST_NAMES = 24
"""Max number of classes in the legend of a sample; more would leave no room for the images."""


def plot_sample(dataset: SegmentationDataset, index: int, prediction: np.ndarray | None = None) -> Figure:
    """Plot the image and the mask of a sample, an optional prediction, and a legend of the most frequent classes.

    Args:
        dataset: The dataset.
        index: Index of the sample.
        prediction: Predicted class ids: integer, (height, width).
    """
    image, mask = dataset.read(index)
    masks = {"ground truth": mask} if prediction is None else {"ground truth": mask, "prediction": prediction}
    panels = {"image": shown_pixels(image)} | {title: dataset.classes.colorize(ids) for title, ids in masks.items()}
    figure = Figure(figsize=(4 * len(panels), 4.2), layout="constrained")
    for axis, (title, panel) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axis.imshow(panel)
        axis.set_title(title)
        axis.axis("off")
    labels, pixels = np.unique(np.concatenate([ids.ravel() for ids in masks.values()]), return_counts=True)
    shown = [label for label in labels[np.argsort(-pixels, kind="stable")].tolist() if 0 <= label < len(dataset.classes)]
    listed = sorted(shown[:MOST_NAMES])
    names = figure_names([dataset.classes.names[label] for label in listed], length=24)
    # Three columns of short names fit the width of a panel.
    columns = max(1, 3 * len(panels) * 12 // max(12, *map(len, names), 0))
    add_legend(figure, names, [dataset.classes.palette[label] for label in listed], columns)
    show_literally(figure)
    return figure


def add_legend(figure: Figure, names: Sequence[str], palette: Sequence[tuple[int, int, int]], columns: int) -> None:
    """Add a legend of class names and colors (0..255) below the panels of a figure."""
    patches = [Patch(facecolor=(red / 255, green / 255, blue / 255), edgecolor="0.3") for red, green, blue in palette]
    legend = figure.legend(patches, [""] * len(patches), loc="outside lower center", ncols=columns, frameon=False)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # afterwards, because matplotlib hides labels that begin with _
