"""Scores of labels against NumPy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from refinenet_pl.metrics.labels import LabelCounts

NAMES = ("wet", "far", "red")


def example() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (5, 3, 8, 9)
    prediction, target = torch.rand(shape, generator=generator), torch.rand(shape, generator=generator).round()
    return prediction, target, torch.rand(shape, generator=generator) < 0.8


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_scores_equal_numpy(threshold):
    prediction, target, valid = example()
    metric = LabelCounts(NAMES, threshold)
    metric.update(prediction, target.where(valid, torch.nan), valid)
    expected = []
    for channel in range(3):
        known = valid[:, channel].numpy()
        found, true = (prediction[:, channel].numpy() > threshold)[known], target[:, channel].numpy()[known] == 1
        both = (found & true).sum()
        expected.append(
            [both / (found | true).sum(), 2 * both / (found.sum() + true.sum()), both / found.sum(), both / true.sum()]
        )
    np.testing.assert_allclose(metric.compute(), np.transpose(expected), rtol=1e-12)
    scores = metric.scores()
    assert list(scores.known().values()) == pytest.approx(np.mean(expected, 0).tolist(), rel=1e-12)
    assert scores.per_label["label_miou"] == pytest.approx(dict(zip(NAMES, [row[0] for row in expected], strict=True)))


def test_known_counts_and_undefined_scores():
    """The label `wet` has 3 pixels, of which 2 are found, with 2 others; `far` is only predicted; `red` is neither."""
    target, prediction = torch.zeros(1, 3, 1, 8), torch.zeros(1, 3, 1, 8)
    target[0, 0, 0, :3] = 1
    prediction[0, 0, 0, 1:5] = 0.9
    prediction[0, 1, 0, 0] = 0.9
    metric = LabelCounts(NAMES)
    metric.update(prediction, target, torch.ones_like(target, dtype=torch.bool))
    scores = metric.scores()
    assert scores.per_label == {
        "label_miou": {"wet": 2 / 5, "far": 0.0, "red": None},
        "label_f1": {"wet": 4 / 7, "far": 0.0, "red": None},
        "label_precision": {"wet": 1 / 2, "far": 0.0, "red": None},
        "label_recall": {"wet": 2 / 3, "far": None, "red": None},
    }
    assert (scores.label_miou, scores.label_recall) == (1 / 5, 2 / 3)


@pytest.mark.parametrize("threshold", [0, 1, -0.5])
def test_threshold_is_checked(threshold):
    with pytest.raises(ValueError, match=f"threshold is {threshold}"):
        LabelCounts(NAMES, threshold)
