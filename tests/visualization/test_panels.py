"""Panels of samples."""

import numpy as np

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.visualization.panels import CORRECT, GAP, VOID, WRONG, panels, side_by_side
from refinenet_pl.visualization.sample import MaskSample, ValueSample

CLASSES = Classes(("a", "b"), ((1, 2, 3), (4, 5, 6)))


def test_mask_panels():
    image = np.full((2, 3, 3), 9, np.uint8)
    label, prediction = np.array([[0, 1, 255], [0, 0, 0]], np.uint8), np.array([[0, 0, 1], [0, 0, 1]], np.uint8)
    found = panels(MaskSample("x", image, label, prediction, CLASSES))
    assert list(found) == ["image", "ground truth", "prediction", "error"]
    assert found["error"].tolist() == [[[*CORRECT], [*WRONG], [*VOID]], [[*CORRECT], [*CORRECT], [*WRONG]]]
    assert found["prediction"][0, 2].tolist() == [4, 5, 6] and found["ground truth"][0, 2].tolist() == [0, 0, 0]
    row = side_by_side(MaskSample("x", image, label, prediction, CLASSES))
    assert row.shape == (2, 4 * 3 + 3 * GAP, 3) and (row[:, 3] == 255).all() and (row[:, :3] == 9).all()


def test_panels_of_different_heights_are_padded():
    image, bar = np.zeros((2, 3, 3), np.uint8), np.zeros((5, 3, 3), np.uint8)
    row = side_by_side(ValueSample("x", image, bar, bar, bar))
    assert row.shape == (5, 4 * 3 + 3 * GAP, 3) and (row[2:, :3] == 255).all() and not row[:2, :3].any()
