"""Images of an evaluated split by their scores: a file of all, and the worst and best ones with predictions."""

import csv
import io
from pathlib import Path

from lightning import Trainer

from refinenet_pl.callbacks.predicted_samples import predict_samples, spread
from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.files import replaced
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.visualization.sample import RankedSample


def write_image_scores(file: Path, task: DenseTask, stage: str) -> None:
    """Write name and primary score of each image of the last evaluation of `val` or `test` as CSV, worst first."""
    lines = io.StringIO()
    rows = csv.writer(lines, lineterminator="\n")
    rows.writerow(["image", task.primary_score.name])
    rows.writerows(worst_first(task, stage))
    with replaced(file, durable=False) as stream:
        stream.write(lines.getvalue().encode())


def worst_first(task: DenseTask, stage: str) -> list[tuple[str, float]]:
    """Name and primary score of each image of the last evaluation of `val` or `test`."""
    sign = 1 if task.primary_score.higher_is_better else -1
    return sorted(task.results[stage].images, key=lambda pair: (sign * pair[1], pair[0]))


def rank_images(
    trainer: Trainer, task: DenseTask, stage: str, dataset: DenseDataset, ranked: int, samples: int
) -> list[RankedSample]:
    """Predict the worst and best images of the last evaluation, and those that each validation shows.

    Args:
        trainer: The trainer.
        task: The task, with the evaluated weights.
        stage: `val` or `test`.
        dataset: The evaluated split.
        ranked: Number of worst and of best images.
        samples: Number of images that each validation shows, see `SampleWriter`.
    """
    order = worst_first(task, stage)
    number = min(ranked, len(order) // 2)
    places = [(f"worst {place}", place - 1) for place in range(1, number + 1)]
    places += [(f"best {place}", len(order) - place) for place in range(1, number + 1)]
    rank_of = {order[place][0]: rank for rank, place in places}
    values, index_of = dict(order), {dataset.name(index): index for index in range(len(dataset))}
    for index in spread(len(dataset), samples):
        if dataset.name(index) in values:
            rank_of.setdefault(dataset.name(index), "sample")
    indices = [index_of[name] for name in rank_of]
    with trainer.precision_plugin.forward_context():
        found = predict_samples(task, dataset, indices, task.evaluator(stage).inference)
    named = zip(rank_of.items(), found, strict=True)
    return [RankedSample(sample, task.primary_score, values[name], rank) for (name, rank), sample in named]
