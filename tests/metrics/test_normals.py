"""Angles of surface normals against NumPy, and known answers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from refinenet_pl.metrics.normals import NormalErrors, NormalScores


def data(number: int = 4, size: tuple[int, int] = (13, 9)) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions of any length, unit targets, and validity, in float64."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=(number, 3, *size))
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    prediction = (target + rng.normal(0, 0.3, target.shape)) * rng.uniform(0.01, 50, (number, 1, *size))
    valid = np.broadcast_to(rng.random((number, 1, *size)) < 0.7, target.shape)
    return torch.from_numpy(prediction), torch.from_numpy(target), torch.from_numpy(valid.copy())


def reference(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Angles of the valid pixels, in degrees, one pixel at a time."""
    found = []
    for image, row, column in zip(*np.nonzero(valid.all(1)), strict=True):
        p, t = prediction[image, :, row, column], target[image, :, row, column]
        found.append(np.degrees(np.arccos(np.dot(p, t) / np.linalg.norm(p) / np.linalg.norm(t))))
    return np.array(found)


def scores_of(angles: list[float]) -> NormalScores:
    """Scores of predictions at some angles in degrees to the targets, which point to the camera."""
    radians = torch.tensor(angles, dtype=torch.float64).deg2rad()
    prediction = torch.stack([radians.sin(), torch.zeros_like(radians), radians.cos()])[None, :, None]
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand_as(prediction)
    metric = NormalErrors()
    metric.update(prediction, target, torch.ones_like(prediction, dtype=torch.bool))
    return metric.scores()


@pytest.mark.parametrize("number", [4, 5])
def test_scores_equal_numpy(number):
    prediction, target, valid = data(number)
    metric = NormalErrors()
    metric.update(prediction, target.where(valid, torch.nan), valid)
    angles = reference(prediction.numpy(), target.numpy(), valid.numpy())
    shares = [np.mean(angles < limit) for limit in (11.25, 22.5, 30)]
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    expected = [angles.mean(), np.median(np.round(angles, 2)), np.sqrt(np.mean(angles**2)), *shares]
    np.testing.assert_allclose(metric.compute(), expected, rtol=1e-12)
    assert abs(metric.scores().median_angle - np.median(angles)) <= 0.005
    assert metric.histogram.dtype == torch.int64 and int(metric.histogram.sum()) == len(angles)


@pytest.mark.parametrize(
    "angles, median",
    [
        ([0.0], 0.0),
        ([180.0], 180.0),
        ([90.0, 1.0, 2.0], 2.0),
        ([90.0, 1.0, 2.0, 3.0], 2.5),
        ([10.0, 10.01], 10.005),
        ([7.127, 7.127, 90.0], 7.13),
        ([7.123, 7.123, 90.0], 7.12),
    ],
)
def test_median(angles, median):
    assert scores_of(angles).median_angle == pytest.approx(median, abs=1e-12)


def test_known_answers():
    found = scores_of([0.0, 11.2, 11.3, 22.4, 22.6, 29.9, 30.1, 180.0])
    assert (found.below_11_25, found.below_22_5, found.below_30) == (2 / 8, 4 / 8, 6 / 8)
    found = scores_of([30.0, 60.0, 90.0])
    assert found.mean_angle == pytest.approx(60) and found.rmse_angle == pytest.approx(np.sqrt((900 + 3600 + 8100) / 3))


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-3, 179.999, 180.0])
def test_angles_are_precise_near_parallel(angle):
    assert scores_of([angle]).mean_angle == pytest.approx(angle, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("length", [1e-20, 0.5, 1e20])
def test_length_does_not_count(length):
    prediction, target, valid = data()
    expected, found = NormalErrors(), NormalErrors()
    expected.update(prediction, target, valid)
    found.update(length * prediction, target, valid)
    torch.testing.assert_close(found.compute(), expected.compute(), rtol=1e-12, atol=0)


def test_prediction_of_length_zero_is_perpendicular():
    prediction, target, valid = data()
    metric = NormalErrors()
    metric.update(torch.zeros_like(prediction), target, valid)
    assert metric.compute().tolist() == [90, 90, 90, 0, 0, 0]


def test_pixel_counts_if_all_channels_are_valid():
    prediction, target, valid = data()
    expected, found = NormalErrors(), NormalErrors()
    expected.update(prediction[:1], target[:1], valid[:1])
    valid[1:, 1] = False
    found.update(prediction, target, valid)
    assert torch.equal(found.compute(), expected.compute())
