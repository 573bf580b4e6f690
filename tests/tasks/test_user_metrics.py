"""Metrics of the user beside the built-in ones."""

import pytest
import torch
from helpers.memory import CLASSES, VOID, Memory, trainer
from helpers.networks import tiny
from torch.utils.data import DataLoader
from torchmetrics import MeanAbsoluteError
from torchmetrics.classification import MulticlassJaccardIndex

from refinenet_pl.datasets.values import Values
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask


def jaccard(average: str = "macro") -> MulticlassJaccardIndex:
    return MulticlassJaccardIndex(len(CLASSES), average=average, ignore_index=VOID)


def test_metric_is_evaluated_on_the_predictions_of_the_split():
    task = SegmentationTask(tiny(), 3, metrics={"jaccard": jaccard(), "compute": jaccard("weighted")})
    runner = trainer(max_epochs=1)
    runner.fit(task, datamodule=Memory())
    first = task.results["val"].metrics
    runner.validate(task, datamodule=Memory(), verbose=False)
    result = task.results["val"]
    assert result.metrics == first and set(first) == {"jaccard", "compute"}  # the sums were reset
    assert first["jaccard"].higher_is_better and first["jaccard"].value == pytest.approx(result.scores.miou, rel=1e-6)
    assert result.to_dict()["metrics"]["jaccard"]["value"] == runner.callback_metrics["val/jaccard"].item()


@pytest.mark.parametrize(
    "name, metric, message",
    [("miou", jaccard(), "a built-in score"), ("a/b", jaccard(), "letters"), ("each", jaccard("none"), r"shape \(3,\)")],
)
def test_unusable_metric(name, metric, message):
    with pytest.raises(ValueError, match=f"model.metrics.*{message}"):
        trainer().validate(SegmentationTask(tiny(), 3, metrics={name: metric}), datamodule=Memory(), verbose=False)


def test_metric_of_values_gets_those_that_are_known():
    values = Values(("depth",), "depth", "m")
    task = RegressionTask(tiny(classes=1), values, activation="softplus", metrics={"error": MeanAbsoluteError()})
    target = torch.tensor([[1.0, torch.nan], [2.0, 3.0]]).repeat(4, 4)[None]
    batches = DataLoader([{"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "target": target, "name": "a"}])
    trainer().validate(task, batches, verbose=False)
    found = task.results["val"].metrics["error"]
    prediction = task.eval()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))[0]
    assert found.value == pytest.approx((prediction - target).abs().nanmean().item(), rel=1e-5) and not found.higher_is_better
