"""Errors of depth maps against NumPy, one image at a time, and known answers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from refinenet_pl.metrics.depth import DepthErrors, DepthScores

NAMES = [score.name for score in DepthScores.SCORES]


def data(number: int = 5, size: tuple[int, int] = (11, 8), seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions, targets of 0.02 to 20 m, and validity, in float64; images differ in difficulty and valid pixels."""
    rng = np.random.default_rng(seed)
    target = np.exp(rng.uniform(np.log(0.02), np.log(20), (number, 1, *size)))
    level = np.arange(1, number + 1).reshape(-1, 1, 1, 1)
    prediction = target * np.exp(rng.normal(0.05, 0.15 * level, target.shape))
    valid = rng.random(target.shape) < level / number
    return torch.from_numpy(prediction), torch.from_numpy(target), torch.from_numpy(valid)


def reference(prediction: np.ndarray, target: np.ndarray) -> list[float]:
    """Scores of pixels, by their definitions."""
    ratio = np.maximum(prediction / target, target / prediction)
    return [
        np.mean(np.abs(prediction - target) / target),
        np.mean((prediction - target) ** 2 / target),
        np.sqrt(np.mean((prediction - target) ** 2)),
        np.sqrt(np.mean((np.log(prediction) - np.log(target)) ** 2)),
        np.mean(np.abs(np.log10(prediction) - np.log10(target))),
        100 * np.std(np.log(prediction) - np.log(target)),
        *(np.mean(ratio < 1.25**power) for power in (1, 2, 3)),
    ]  # fmt: skip


def computed(*batch: Tensor, **options) -> Tensor:
    metric = DepthErrors(**options)
    metric.update(*batch)
    return metric.compute()


@pytest.mark.parametrize("low, high", [(1e-3, None), (0.1, None), (0.1, 5.0)])
def test_scores_equal_numpy(low, high):
    prediction, target, valid = data()
    limits = {"min_depth": low, "max_depth": high}
    high = np.inf if high is None else high
    p, t = np.clip(prediction.numpy(), low, high), target.numpy()
    counted = valid.numpy() & (t > low) & (t < high)
    assert 0 < counted.sum() <= valid.sum()
    pooled = reference(p[counted], t[counted])
    images = np.mean([reference(p[i][counted[i]], t[i][counted[i]]) for i in range(len(t))], axis=0)
    assert not np.isclose(pooled, images, rtol=1e-3).any()
    batch = (prediction, target.where(valid, torch.nan), valid)
    np.testing.assert_allclose(computed(*batch, average="pixel", **limits), pooled, rtol=1e-12)
    np.testing.assert_allclose(computed(*batch, average="image", **limits), images, rtol=1e-12)
    np.testing.assert_allclose(computed(*batch, **limits), images, rtol=1e-12)


@pytest.mark.parametrize("average", ["image", "pixel"])
@pytest.mark.parametrize("factor", [1.1, 1 / 1.1])
def test_constant_factor(average, factor):
    _, target, valid = data()
    metric = DepthErrors(average)
    metric.update(factor * target, target, valid)
    found = metric.scores()
    assert found.abs_rel == pytest.approx(abs(factor - 1), rel=1e-12)
    assert found.rmse_log == pytest.approx(np.log(1.1), rel=1e-12)
    assert found.log10 == pytest.approx(np.log10(1.1), rel=1e-12)
    assert found.silog == pytest.approx(0, abs=1e-5)
    assert found.delta1 == found.delta2 == found.delta3 == 1


@pytest.mark.parametrize("average", ["image", "pixel"])
def test_perfect_prediction(average):
    _, target, valid = data()
    assert computed(target, target, valid, average=average).tolist() == [0] * 6 + [1] * 3


@pytest.mark.parametrize("factor, deltas", [(1.2, [1, 1, 1]), (1.3, [0, 1, 1]), (1.6, [0, 0, 1]), (2.0, [0, 0, 0])])
def test_deltas_are_symmetric(factor, deltas):
    _, target, valid = data()
    for prediction in (factor * target, target / factor):
        assert computed(prediction, target, valid)[-3:].tolist() == deltas


def test_known_answers_of_both_averages():
    # Errors of 1 m in one image with one pixel, and of 3 m in another one with three.
    target = torch.full((2, 1, 1, 3), 2.0)
    prediction = target + torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    valid = torch.tensor([[True, False, False], [True, True, True]]).view(2, 1, 1, 3)
    by_image, by_pixel = DepthErrors("image"), DepthErrors("pixel")
    for metric in (by_image, by_pixel):
        metric.update(prediction, target, valid)
    assert by_image.scores().rmse == pytest.approx((1 + 3) / 2) and by_image.scores().silog == pytest.approx(0, abs=1e-5)
    assert by_pixel.scores().rmse == pytest.approx(np.sqrt((1 + 3 * 9) / 4))
    assert by_image.scores().abs_rel == pytest.approx((0.5 + 1.5) / 2)
    assert by_pixel.scores().abs_rel == pytest.approx((0.5 + 3 * 1.5) / 4)
    assert by_pixel.scores().silog == pytest.approx(100 * np.std(np.log([1.5, 2.5, 2.5, 2.5])))


def test_limits_are_excluded_and_predictions_are_clamped():
    target = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0]).view(1, 1, 1, 5)
    valid = torch.ones_like(target, dtype=torch.bool)
    # Only the target 2 is within the limits.
    for prediction, error in ((-7.0, 1.0), (0.0, 1.0), (3.0, 1.0), (3.5, 1.5), (100.0, 2.0)):
        found = computed(torch.full_like(target, prediction), target, valid, min_depth=1.0, max_depth=4.0)
        assert found[NAMES.index("rmse")] == error
    # Without a max depth, no prediction is too large.
    found = computed(torch.full_like(target, 100.0), target, valid, min_depth=4.0)
    assert found[NAMES.index("rmse")] == 92


def test_zero_and_negative_targets_do_not_count():
    target = torch.tensor([0.0, -1.0, 2.0]).view(1, 1, 1, 3)
    found = computed(torch.full_like(target, 3.0), target, torch.ones_like(target, dtype=torch.bool))
    assert found.isfinite().all() and found[NAMES.index("abs_rel")] == 0.5


def test_prediction_outside_of_what_counts_may_be_infinite():
    target = torch.tensor([0.5, 2.0, 8.0]).view(1, 1, 1, 3)
    prediction = torch.tensor([torch.nan, 3.0, torch.inf]).view(1, 1, 1, 3)
    found = computed(prediction, target, torch.ones_like(target, dtype=torch.bool), min_depth=1.0, max_depth=4.0)
    assert found[NAMES.index("rmse")] == 1


def test_image_without_pixels_that_count_has_no_weight():
    prediction, target, valid = data(2)
    valid[1], valid[0, 0, 0, 0] = False, True
    torch.testing.assert_close(computed(prediction, target, valid), computed(prediction[:1], target[:1], valid[:1]))


@pytest.mark.parametrize("average", ["image", "pixel"])
def test_eigen_crop(average):
    prediction, target, valid = data(2, (480, 640))
    expected = torch.zeros_like(valid)
    for row in range(45, 471):
        for column in range(41, 601):
            expected[..., row, column] = valid[..., row, column]
    found = computed(prediction, target, valid, average=average, crop="eigen")
    torch.testing.assert_close(found, computed(prediction, target, expected, average=average), rtol=1e-12, atol=0)
    assert not torch.allclose(found, computed(prediction, target, valid, average=average), rtol=1e-6)


@pytest.mark.parametrize(
    "row, column, inside",
    [(45, 41, True), (470, 600, True), (44, 41, False), (45, 40, False), (471, 600, False), (470, 601, False)],
)
def test_corners_of_the_eigen_crop(row, column, inside):
    target = torch.ones(1, 1, 480, 640)
    valid = torch.zeros_like(target, dtype=torch.bool)
    valid[0, 0, row, column] = True
    assert computed(target, target, valid, crop="eigen").isnan().all() != inside


@pytest.mark.parametrize("size", [(479, 640), (640, 480), (228, 304)])
def test_eigen_crop_refuses_other_sizes(size):
    with pytest.raises(ValueError, match=rf"480 x 640 pixels \(height x width\), not of {size[0]} x {size[1]}"):
        computed(*data(1, size), crop="eigen")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"average": "images"}, "average is 'images'; it must be one of image, pixel"),
        ({"crop": "garg"}, "crop is 'garg'; it must be None or one of eigen"),
        ({"min_depth": 0.0}, "min_depth 0.0 must be more than 0"),
        ({"min_depth": 2.0, "max_depth": 2.0}, "less than max_depth 2.0"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        DepthErrors(**options)
