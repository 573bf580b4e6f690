"""Boundary IoU against its definition, class by class with an erosion of each class's mask."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from refinenet_pl.metrics.boundary import BoundaryCounts, border_width
from refinenet_pl.metrics.confusion import scores

CLASSES, VOID = 4, 255


def masks(seed: int, height: int, width: int) -> np.ndarray:
    """Blocks of classes, so that there is an inside: (2, height, width), label and prediction."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, CLASSES, (2, -(-height // 9), -(-width // 9)))
    return coarse.repeat(9, 1).repeat(9, 2)[:, :height, :width]


def band(mask: np.ndarray, width: int) -> np.ndarray:
    return mask & ~binary_erosion(mask, np.ones((2 * width + 1, 2 * width + 1)), border_value=0)


def expected_counts(prediction: np.ndarray, label: np.ndarray, width: int) -> list[list[int]]:
    prediction = np.where(label == VOID, CLASSES, prediction)
    bands = [(band(label == name, width), band(prediction == name, width)) for name in range(CLASSES)]
    return [[f(a, b).sum() for a, b in bands] for f in (np.logical_and, lambda a, b: a, lambda a, b: b)]


@pytest.mark.parametrize("height, width", [(40, 56), (180, 240), (360, 480)])
@pytest.mark.parametrize("void", ["none", "some", "void predicted"])
def test_counts_are_those_of_the_definition(height, width, void):
    metric, expected = BoundaryCounts(CLASSES, VOID), np.zeros((3, CLASSES), int)
    for seed in range(3):
        label, prediction = masks(seed, height, width)
        if void != "none":
            label[10:25, 5:30] = VOID
        if void == "void predicted":
            prediction[15:35, 20:40] = CLASSES
        metric.update(torch.from_numpy(prediction)[None], torch.from_numpy(label)[None])
        expected += expected_counts(prediction, label, border_width(height, width))
    assert metric.compute().tolist() == expected.tolist()
    assert (metric.compute() > 0).all()


def test_pictures_of_a_batch_count_like_pictures_alone():
    pairs = torch.from_numpy(np.stack([masks(seed, 40, 56) for seed in range(4)], 1))
    together, alone = BoundaryCounts(CLASSES, VOID), BoundaryCounts(CLASSES, VOID)
    together.update(*pairs)
    for prediction, label in zip(*pairs, strict=True):
        alone.update(prediction[None], label[None])
    assert torch.equal(together.compute(), alone.compute())


@pytest.mark.parametrize("height, width, pixels", [(128, 128, 1), (360, 480, 3), (1024, 2048, 11), (10, 10, 1)])
def test_width_is_half_a_per_cent_of_the_diagonal(height, width, pixels):
    assert border_width(height, width) == pixels


def test_a_shifted_border_costs_more_boundary_iou_than_iou():
    label = torch.zeros(1, 360, 480, dtype=torch.long)
    label[..., 240:] = 1
    shifted = label.roll(2, 2)
    shifted[..., :2] = 0
    metric = BoundaryCounts(2, VOID)
    metric.update(shifted, label)
    confusion = np.array([[240 * 360, 0], [2 * 360, 238 * 360]])
    found = scores(confusion, ["left", "right"], boundary=metric.compute().numpy())
    assert found.miou > 0.99 and 0.6 < found.boundary_miou < 0.95
    metric.reset()
    metric.update(label, label)
    assert scores(confusion, ["left", "right"], boundary=metric.compute().numpy()).boundary_miou == 1


@pytest.mark.parametrize("labelled_only, expected", [(False, 0.25), (True, 0.5)])
def test_the_mean_is_over_the_classes_that_count_for_the_mean_iou(labelled_only, expected):
    # Class b was predicted and does not occur in the labels; class c does neither.
    confusion = np.array([[6, 2, 0], [0, 0, 0], [0, 0, 0]])
    boundary = np.array([[3, 0, 0], [5, 0, 0], [4, 2, 0]])
    found = scores(confusion, ["a", "b", "c"], labelled_only, boundary)
    assert found.boundary_miou == expected
    assert found.boundary_iou == {"a": 0.5, "b": None if labelled_only else 0.0, "c": None}
    assert found.boundary_counts == boundary.tolist()
