"""Boundary IoU against its definition, the erosion of each class's mask."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from refinenet_pl.metrics.boundary import BoundaryCounts, border_width
from refinenet_pl.metrics.confusion import scores

CLASSES, VOID = 4, 255


def masks(seed: int, height: int, width: int) -> np.ndarray:
    """Label and prediction, (2, height, width), of squares so that classes have an interior."""
    coarse = np.random.default_rng(seed).integers(0, CLASSES, (2, -(-height // 9), -(-width // 9)))
    return coarse.repeat(9, 1).repeat(9, 2)[:, :height, :width]


def band(mask: np.ndarray, width: int) -> np.ndarray:
    return mask & ~binary_erosion(mask, np.ones((2 * width + 1, 2 * width + 1)), border_value=0)


def expected_counts(prediction: np.ndarray, label: np.ndarray, width: int) -> list[list[int]]:
    prediction = np.where(label == VOID, CLASSES, prediction)
    bands = [(band(label == name, width), band(prediction == name, width)) for name in range(CLASSES)]
    return [[f(a, b).sum() for a, b in bands] for f in (np.logical_and, lambda a, b: a, lambda a, b: b)]


@pytest.mark.parametrize("height, width, border", [(40, 56, 1), (180, 240, 2), (360, 480, 3)])
@pytest.mark.parametrize("void", ["none", "labeled", "predicted"])
def test_counts_equal_the_definition(height, width, border, void):
    assert border_width(height, width) == border and border_width(1024, 2048) == 11
    batch, expected = [], np.zeros((3, CLASSES), int)
    single, together = BoundaryCounts(CLASSES, VOID), BoundaryCounts(CLASSES, VOID)
    for seed in range(3):
        label, prediction = masks(seed, height, width)
        if void != "none":
            label[10:25, 5:30] = VOID
        if void == "predicted":
            prediction[15:35, 20:40] = CLASSES
        batch.append(torch.from_numpy(np.stack([prediction, label])))
        single.update(*batch[-1][:, None])
        expected += expected_counts(prediction, label, border)
    together.update(*torch.stack(batch, 1))
    assert single.compute().tolist() == together.compute().tolist() == expected.tolist()
    assert (expected > 0).all()


@pytest.mark.parametrize("labeled_only, expected", [(False, 0.25), (True, 0.5)])
def test_mean_has_the_classes_of_the_mean_iou(labeled_only, expected):
    # Class b is only predicted; class c is neither labeled nor predicted.
    confusion = np.array([[6, 2, 0], [0, 0, 0], [0, 0, 0]])
    boundary = np.array([[3, 0, 0], [5, 0, 0], [4, 2, 0]])
    found = scores(confusion, ["a", "b", "c"], labeled_only, boundary)
    assert found.boundary_miou == expected
    assert found.boundary_iou == {"a": 0.5, "b": None if labeled_only else 0.0, "c": None}
    assert found.boundary_counts == boundary.tolist()
