"""A sample of a dataset as a figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.visualization.fonts import figure_names, show_literally

MOST_NAMES = 24
"""Classes in a sample's legend; more would leave no room for the images."""


def plot_sample(dataset: SegmentationDataset, index: int, prediction: np.ndarray | None = None) -> Figure:
    """Plot a sample: the image, its mask and, if given, a prediction, with a legend of the most frequent classes.

    Args:
        dataset: The dataset.
        index: Index of the sample.
        prediction: Class ids, integer (height, width).
    """
    image, mask = dataset.read(index)
    masks = {"ground truth": mask} if prediction is None else {"ground truth": mask, "prediction": prediction}
    panels = {"image": image} | {title: dataset.classes.colorize(ids) for title, ids in masks.items()}
    figure = Figure(figsize=(4 * len(panels), 4.2), layout="constrained")
    for axis, (title, panel) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axis.imshow(panel)
        axis.set_title(title)
        axis.axis("off")
    labels, pixels = np.unique(np.concatenate([ids.ravel() for ids in masks.values()]), return_counts=True)
    shown = [label for label in labels[np.argsort(-pixels, kind="stable")].tolist() if 0 <= label < len(dataset.classes)]
    labels = sorted(shown[:MOST_NAMES])
    names = figure_names([dataset.classes.names[label] for label in labels], length=24)
    # Of short names three in the width of a panel.
    columns = max(1, 3 * len(panels) * 12 // max(12, *map(len, names), 0))
    add_legend(figure, names, [dataset.classes.palette[label] for label in labels], columns)
    show_literally(figure)
    return figure


def add_legend(figure: Figure, names: Sequence[str], palette: Sequence[tuple[int, int, int]], columns: int) -> None:
    """Add a legend of class names and their colors, 0..255, below the panels of a figure."""
    patches = [Patch(facecolor=np.array(color) / 255, edgecolor="0.3") for color in palette]
    legend = figure.legend(patches, [""] * len(patches), loc="outside lower center", ncols=columns, frameon=False)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # afterwards, since a label that begins with _ would not be shown
