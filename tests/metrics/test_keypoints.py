"""Correct keypoints against a loop over keypoints, and known answers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from refinenet_pl.metrics.keypoints import KeypointAccuracy

NAMES = ["head", "hand", "foot"]
# The diagonal of the heatmaps is 50 pixels, so the thresholds are 2.5, 5 and 10.
SIZE = (30, 40)


def heatmaps(points: np.ndarray) -> Tensor:
    """Gaussians around points, (N, K, 2) as rows and columns; the max is at the nearest pixel."""
    rows, columns = np.arange(SIZE[0])[:, None], np.arange(SIZE[1])[None]
    squares = (rows - points[..., 0, None, None]) ** 2 + (columns - points[..., 1, None, None]) ** 2
    return torch.from_numpy(np.exp(-squares / 8)).float()


def data(number: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(0)
    points = np.stack([rng.integers(0, SIZE[0], (number, 3)), rng.integers(0, SIZE[1], (number, 3))], axis=-1)
    found = np.clip(points + rng.normal(0, 4, points.shape).round(), 0, np.array(SIZE) - 1)
    labeled = torch.from_numpy(rng.random((number, 3, 1, 1)) < 0.7)
    return heatmaps(found), heatmaps(points), labeled.expand(-1, -1, *SIZE).clone()


def one(true: tuple[float, float], found: tuple[float, float], **options) -> KeypointAccuracy:
    """Metric of one keypoint in one image."""
    metric = KeypointAccuracy(["head"], **options)
    metric.update(*(heatmaps(np.array([[point]])) for point in (found, true)), torch.ones(1, 1, *SIZE, dtype=torch.bool))
    return metric


@pytest.mark.parametrize("lengths", [None, np.linspace(20, 80, 40).tolist()])
def test_shares_equal_a_loop(lengths):
    prediction, target, valid = data()
    correct, labeled = np.zeros((3, 3)), np.zeros(3)
    for image in range(len(target)):
        for name in range(3):
            if valid[image, name].any():
                p, t = (np.unravel_index(np.argmax(x[image, name]), SIZE) for x in (prediction.numpy(), target.numpy()))
                labeled[name] += 1
                length = math.hypot(*SIZE) if lengths is None else lengths[image]
                for row, threshold in enumerate((0.05, 0.1, 0.2)):
                    correct[row, name] += math.dist(p, t) <= threshold * length
    metric = KeypointAccuracy(NAMES)
    metric.update(prediction, target.where(valid, torch.nan), valid, None if lengths is None else torch.tensor(lengths))
    assert np.array_equal(metric.compute(), correct / labeled)
    assert labeled.min() > 0 and 0 < correct[0].sum() < correct[1].sum() < correct[2].sum() < labeled.sum()
    scores = metric.scores()
    assert [scores.pck_5, scores.pck_10, scores.pck_20] == pytest.approx((correct / labeled).mean(1))
    assert list(scores.per_keypoint) == ["pck_5", "pck_10", "pck_20"]
    assert list(scores.per_keypoint["pck_10"].items()) == list(zip(NAMES, correct[1] / labeled, strict=True))


@pytest.mark.parametrize(
    "found, shares",
    [
        ((10, 10), [1, 1, 1]),
        ((12, 11), [1, 1, 1]),
        ((12, 12), [0, 1, 1]),
        ((13, 14), [0, 1, 1]),  # 5 pixels away, exactly the second threshold
        ((14, 14), [0, 0, 1]),
        ((16, 18), [0, 0, 1]),  # 10 pixels away, exactly the third threshold
        ((16, 19), [0, 0, 0]),
    ],
)
def test_known_answers(found, shares):
    assert one((10, 10), found).compute().flatten().tolist() == shares


def test_keypoint_without_label_does_not_count():
    prediction, target, valid = data(2)
    valid[:], prediction[:, 0] = True, target[:, 0]
    valid[:, 1], valid[0, 2] = False, False
    prediction[1, 2] = heatmaps(np.array([[[0, 0]]]))[0, 0]
    target[1, 2] = heatmaps(np.array([[[29, 39]]]))[0, 0]
    metric = KeypointAccuracy(NAMES)
    metric.update(prediction, target, valid)
    shares = {"head": 1.0, "hand": None, "foot": 0.0}
    assert metric.scores().to_dict() == {
        "pck_5": 0.5, "pck_10": 0.5, "pck_20": 0.5, "per_keypoint": {"pck_5": shares, "pck_10": shares, "pck_20": shares}
    }  # fmt: skip


def test_positions_are_valid_pixels():
    # The right half is invalid, where the prediction has its max and the target any values.
    prediction, target = heatmaps(np.array([[[10, 10]]])), heatmaps(np.array([[[10, 10]]]))
    prediction[..., 20:], target[..., 20:] = 5.0, 7.0
    valid = torch.ones(1, 1, *SIZE, dtype=torch.bool)
    valid[..., 20:] = False
    for position in ("argmax", "soft_argmax"):
        metric = KeypointAccuracy(["head"], position)
        metric.update(prediction, target, valid)
        assert metric.compute().tolist() == [[1], [1], [1]]


def test_soft_argmax_is_between_pixels():
    # 10 pixels and a third of one away: argmax rounds it to 10.
    assert one((10, 10), (10, 20.3)).compute().flatten().tolist() == [0, 0, 1]
    assert one((10, 10), (10, 20.3), position="soft_argmax").compute().flatten().tolist() == [0, 0, 0]
    assert one((10, 10), (10, 19.7), position="soft_argmax").compute().flatten().tolist() == [0, 0, 1]


def test_soft_argmax_is_the_weighted_mean_position():
    # Two equal peaks: the mean is halfway, 8 pixels from the target.
    prediction = torch.maximum(*(heatmaps(np.array([[[10, column]]])) for column in (10, 26)))
    target, valid = heatmaps(np.array([[[10, 10]]])), torch.ones(1, 1, *SIZE, dtype=torch.bool)
    metric = KeypointAccuracy(["head"], "soft_argmax")
    metric.update(prediction, target, valid)
    assert metric.compute().flatten().tolist() == [0, 0, 1]
    # Without sharpness, the position is the center of the image, (14.5, 19.5), which is 10.5 pixels away.
    metric = KeypointAccuracy(["head"], "soft_argmax", sharpness=0.0)
    metric.update(prediction, target, valid)
    assert metric.compute().flatten().tolist() == [0, 0, 0]


@pytest.mark.parametrize("length", [[1.0], [1.0, 0.0], [1.0, -2.0], [1.0, math.nan], [1.0, math.inf], [[1.0], [1.0]]])
def test_refuses_lengths(length):
    with pytest.raises(ValueError, match="length must have 2 positive, finite values"):
        KeypointAccuracy(NAMES).update(*data(2), torch.tensor(length))


def test_refuses_unknown_position():
    with pytest.raises(ValueError, match="position is 'max'; it must be one of argmax, soft_argmax"):
        KeypointAccuracy(NAMES, "max")
