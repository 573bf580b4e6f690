"""Scores of single images."""

import math

import numpy as np
import pytest
import torch

from refinenet_pl.evaluation.image_scores import ImageScores
from refinenet_pl.metrics.confusion import ConfusionMatrix, image_miou, scores
from refinenet_pl.metrics.depth import DepthErrors


@pytest.mark.parametrize("labeled_only", [False, True])
def test_mean_iou_of_each_image(labeled_only):
    generator = np.random.default_rng(0)
    label, prediction = generator.integers(0, 5, (2, 3, 8, 8))
    label[label == 4] = 255
    label[2] = 255
    metric, found = ConfusionMatrix(5, 255), []
    for guess, truth in zip(prediction, label, strict=True):
        counts = np.zeros((5, 5), int)
        np.add.at(counts, (truth[truth != 255], guess[truth != 255]), 1)
        found.append(scores(counts, list("abcde"), labeled_only).miou)
    expected = pytest.approx(found, nan_ok=True)
    assert image_miou(torch.from_numpy(prediction), torch.from_numpy(label), metric, labeled_only) == expected
    assert math.isnan(found[2]) and not metric.counts.any()


def test_errors_of_each_image_do_not_change_the_metric():
    target = torch.full((2, 1, 4, 4), 2.0)
    prediction = torch.stack([target[0] * 1.5, target[1] * 1.1])
    metric, valid = DepthErrors(), target > 0
    metric.update(prediction, target, valid)
    before = metric.scores()
    assert metric.image_scores(prediction, target, valid) == pytest.approx([0.5, 0.1])
    assert metric.image_scores(prediction, target, ~valid) == [None, None]
    assert metric.scores() == before


def test_images_without_scores_and_names_are_not_kept():
    images = ImageScores()
    images.add(["b", "a", "c"], [0.5, None, math.nan])
    images.add((), [0.1])
    images.add(["a"], [0.25])
    assert images.gather() == [("a", 0.25), ("b", 0.5)]
    images.reset()
    assert images.gather() == []
