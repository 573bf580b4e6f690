"""Tables, charts and images for W&B, which is imported when they are logged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from refinenet_pl.visualization.panels import panels, side_by_side
from refinenet_pl.visualization.sample import MaskSample, RankedSample, Sample
from refinenet_pl.visualization.scores import PER_CLASS, per_class_rows, plot_confusion
from refinenet_pl.visualization.value_scores import COLUMNS, value_rows

# W&B plots no chart of a table with more rows, so a confusion matrix of more than 100 classes is logged as an image only.
CHART_ROWS = 10_000


def score_media(name: str, evaluation: dict[str, Any]) -> dict[str, Any]:
    """Build the table of an evaluation's scores.

    Classes also have the confusion matrix as an image and, up to 100 classes, as a chart.

    Args:
        name: Name of the evaluation, such as `val`.
        evaluation: Scores as in results.json.

    Returns:
        W&B's objects by the name to log them under.
    """
    import wandb

    if "confusion" not in evaluation:
        return {f"{name}/scores": wandb.Table(list(COLUMNS), [list(row) for row in value_rows(evaluation)])}
    media: dict[str, Any] = {
        f"{name}/classes": wandb.Table(list(PER_CLASS), [list(row) for row in per_class_rows(evaluation)]),
        f"{name}/confusion": wandb.Image(plot_confusion(evaluation)),
    }
    if np.size(evaluation["confusion"]) <= CHART_ROWS:
        media[f"{name}/confusion_chart"] = _confusion_chart(evaluation, name)
    return media


def sample_image(sample: Sample) -> Any:
    """Build W&B's image of a sample.

    Masks can be toggled. Values are next to the image: those of the dataset, the prediction and its errors, with color bars.
    """
    import wandb

    if not isinstance(sample, MaskSample):
        return wandb.Image(side_by_side(sample), caption=f"{sample.name}: image, ground truth, prediction, error")
    labels = {**dict(enumerate(sample.classes.names)), sample.classes.ignore_index: "void"}
    masks = {"prediction": sample.prediction, "ground truth": sample.label}
    overlays = {name: {"mask_data": mask, "class_labels": labels} for name, mask in masks.items()}
    return wandb.Image(sample.image, masks=overlays, caption=sample.name, file_type="jpg")


def ranked_table(samples: Sequence[RankedSample]) -> Any:
    """Build W&B's table of images: rank, name, score as shown, and the panels of `panels`."""
    import wandb

    score = samples[0].score
    rows = []
    for ranked in samples:
        shown = panels(ranked.sample)
        images = [wandb.Image(panel, file_type="jpg" if title == "image" else "png") for title, panel in shown.items()]
        rows.append([ranked.rank, ranked.sample.name, round(score.factor * ranked.value, score.decimals + 1), *images])
    return wandb.Table(["rank", "name", score.heading, *panels(samples[0].sample)], rows)


def _confusion_chart(evaluation: dict[str, Any], name: str) -> Any:
    """The chart of `wandb.plot.confusion_matrix`, which itself expects a list of all pixels, from the counts."""
    import wandb

    classes = list(evaluation["iou"])
    counts = np.array(evaluation["confusion"])
    predictions = classes + ["void"] * (counts.shape[1] - len(classes))
    rows = [[classes[label], predictions[guess], int(count)] for (label, guess), count in np.ndenumerate(counts)]
    columns = ("Actual", "Predicted", "nPredictions")
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(list(columns), rows),
        {column: column for column in columns},
        {"title": f"Confusion matrix, {name}, pixels"},
    )
