"""Losses of continuous targets: values, gradients and invalid pixels, against loops over NumPy arrays."""

import math

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from refinenet_pl.tasks.losses.value_loss import ValueLoss
from refinenet_pl.tasks.losses.values import LOSSES, WeightedSum, build_loss

MIN_VALUE = 0.1


def l1(prediction, target, valid):
    residuals = [abs(prediction[i] - target[i]) for i in np.ndindex(valid.shape) if valid[i]]
    return sum(residuals), len(residuals)


def l2(prediction, target, valid):
    residuals = [(prediction[i] - target[i]) ** 2 for i in np.ndindex(valid.shape) if valid[i]]
    return sum(residuals), len(residuals)


def berhu(prediction, target, valid):
    residuals = [abs(prediction[i] - target[i]) for i in np.ndindex(valid.shape) if valid[i]]
    threshold = 0.2 * max(residuals, default=0)
    return sum(x if x <= threshold else (x**2 + threshold**2) / (2 * threshold) for x in residuals), len(residuals)


def log(value):
    return math.log(max(value, MIN_VALUE))


def silog(variance_focus):
    def reference(prediction, target, valid):
        d = [log(prediction[i]) - log(target[i]) for i in np.ndindex(valid.shape) if valid[i]]
        n = len(d)
        return (n * (sum(x**2 for x in d) / n - variance_focus / n**2 * sum(d) ** 2) if n else 0), n

    return reference


def gradient(transform):
    def reference(prediction, target, valid):
        channels, height, width = valid.shape
        mean = 0
        for step in (1, 2, 4, 8):
            differences, count = 0, 0
            for c, y, x in np.ndindex(valid.shape):
                if y % step or x % step or not valid[c, y, x]:
                    continue
                count += 1
                for other in ((c, y + step, x), (c, y, x + step)):
                    if other[1] < height and other[2] < width and valid[other]:
                        here, there = (transform(prediction[i]) - transform(target[i]) for i in ((c, y, x), other))
                        differences += abs(there - here)
            mean += differences / max(count, 1)
        return mean * valid.sum(), valid.sum()

    return reference


def cosine(prediction, target, valid):
    total, weight = 0, 0
    for y, x in np.ndindex(valid.shape[1:]):
        if valid[:, y, x].all():
            p, t = prediction[:, y, x], target[:, y, x]
            total += 1 - p @ t / np.linalg.norm(p) / np.linalg.norm(t)
            weight += 1
    return total, weight


def soft_argmax(temperature, order):
    def reference(prediction, target, valid):
        channels, height, width = valid.shape
        total, weight = 0, 0
        for c in range(channels):
            pixels = [(y, x) for y, x in np.ndindex(height, width) if valid[c, y, x]]
            if not pixels or max(target[c][i] for i in pixels) <= 0:
                continue
            peak = max(pixels, key=lambda i: target[c][i])
            exponentials = [math.exp(prediction[c][i] / temperature) for i in pixels]
            expected = [
                sum(e * i[axis] for e, i in zip(exponentials, pixels, strict=True)) / sum(exponentials) for axis in (0, 1)
            ]
            total += np.linalg.norm(np.subtract(expected, peak), order) / math.sqrt(height**2 + width**2)
            weight += 1
        return total, weight

    return reference


def bce(*factors):
    def reference(prediction, target, valid):
        total = 0
        for i in np.ndindex(valid.shape):
            if valid[i]:
                probability = 1 / (1 + math.exp(-prediction[i]))
                total -= factors[i[0]] * math.log(probability) if target[i] else math.log(1 - probability)
        return total, valid.sum()

    return reference


def dice(transform):
    def reference(prediction, target, valid):
        total, weight = 0, 0
        for p, t, known in zip(transform(prediction), target, valid, strict=True):
            if t[known].any():
                total += 1 - 2 * (p * t)[known].sum() / (p + t)[known].sum()
                weight += 1
        return total, weight

    return reference


def weighted_sum(*parts):
    def reference(prediction, target, valid):
        total = 0
        for factor, part in parts:
            part_total, part_weight = part(prediction, target, valid)
            total += factor * part_total / max(part_weight, 1) * valid.sum()
        return total, valid.sum()

    return reference


def depth():
    return torch.rand(4, 2, 10, 13) * 5 - 0.5, torch.rand(4, 2, 10, 13) * 5 + 0.5, torch.rand(4, 2, 10, 13) < 0.7


def normals():
    target = torch.nn.functional.normalize(torch.randn(4, 3, 5, 6), dim=1)
    return torch.randn(4, 3, 5, 6) * 2, target, (torch.rand(4, 1, 5, 6) < 0.7).expand(4, 3, 5, 6).clone()


def heatmaps():
    prediction, target, valid = torch.rand(4, 5, 6, 8), torch.rand(4, 5, 6, 8), torch.rand(4, 5, 6, 8) < 0.7
    target[:2, 3] = 0  # outside of the image
    valid[1:, 4] = False  # without a label
    return prediction, target, valid


def labels():
    prediction, target, valid = torch.randn(4, 3, 6, 8) * 3, torch.rand(4, 3, 6, 8) < 0.4, torch.rand(4, 3, 6, 8) < 0.7
    target = target.float()
    target[1, 2] = 0  # a label that does not occur
    return prediction, target, valid


def probabilities():
    prediction, target, valid = labels()
    return prediction.sigmoid(), target, valid


CASES = {
    "l1": ({}, l1, depth),
    "l2": ({}, l2, depth),
    "berhu": ({}, berhu, depth),
    "silog": ({"min_value": MIN_VALUE}, silog(0.5), depth),
    "silog 0.85": ({"variance_focus": 0.85, "min_value": MIN_VALUE}, silog(0.85), depth),
    "gradient": ({}, gradient(float), depth),
    "gradient log": ({"log": True, "min_value": MIN_VALUE}, gradient(log), depth),
    "cosine": ({}, cosine, normals),
    "soft_argmax": ({}, soft_argmax(0.05, 1), heatmaps),
    "soft_argmax l2": ({"temperature": 0.5, "distance": "l2"}, soft_argmax(0.5, 2), heatmaps),
    "bce": ({}, bce(1, 1, 1), labels),
    "bce weighted": ({"positive_weights": [0.5, 1, 4]}, bce(0.5, 1, 4), labels),
    "dice": ({}, dice(lambda p: p), probabilities),
    "sum of labels": (
        [("bce", 1), ("dice", 0.3)],
        weighted_sum((1, bce(1, 1, 1)), (0.3, dice(lambda x: 1 / (1 + np.exp(-x))))),
        labels,
    ),
    "sum": ([("l2", 1), ("soft_argmax", 0.3)], weighted_sum((1, l2), (0.3, soft_argmax(0.05, 1))), heatmaps),
}


@pytest.fixture(params=CASES)
def name(request):
    return request.param


def build(name):
    arguments = CASES[name][0]
    if isinstance(arguments, list):
        return WeightedSum([LOSSES[part]() for part, _ in arguments], [factor for _, factor in arguments])
    return LOSSES[name.split()[0]](**arguments)


def example(name):
    """Four images of float64, the last one without a valid value and with NaN and infinite targets where invalid."""
    prediction, target, valid = CASES[name][2]()
    valid[3] = False
    numbers = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, 1e30])
    target = target.where(valid, numbers[torch.randint(len(numbers), target.shape)])
    return prediction.double().requires_grad_(), target.double(), valid


def test_every_loss_has_a_reference():
    assert {name.split()[0] for name in CASES} == {*LOSSES, "sum"}


def test_loss_equals_its_reference(name):
    prediction, target, valid = example(name)
    total, weight = build(name)(prediction, target, valid)
    images = zip(*(tensor.detach().numpy() for tensor in (prediction, target, valid)), strict=True)
    expected = np.sum([CASES[name][1](*image) for image in images], axis=0)
    assert total.shape == weight.shape == ()
    assert float(total) == pytest.approx(expected[0], rel=1e-12)
    assert float(weight) == expected[1] > 0


def test_images_add_up(name):
    loss, images = build(name), example(name)
    parts = [torch.stack(loss(*(tensor[i : i + 1] for tensor in images))) for i in range(4)]
    torch.testing.assert_close(sum(parts), torch.stack(loss(*images)), rtol=1e-12, atol=0)


def test_invalid_targets_have_no_effect(name):
    loss, (prediction, target, valid) = build(name), example(name)
    total, weight = loss(prediction, target, valid)
    with torch.autograd.detect_anomaly():  # raises an error for any NaN in the backward pass
        gradient = torch.autograd.grad(total, prediction)[0]
    assert gradient.isfinite().all() and gradient[valid].any() and not gradient[~valid].any()
    other_total, other_weight = loss(prediction, target.where(valid, 3.0), valid)
    assert (float(other_total), float(other_weight)) == (float(total), float(weight))
    assert torch.equal(torch.autograd.grad(other_total, prediction)[0], gradient)


@pytest.mark.parametrize("number", [0.0, torch.nan, torch.inf])
def test_without_a_valid_value(name, number):
    prediction, target, valid = example(name)
    total, weight = build(name)(prediction, torch.full_like(target, number), torch.zeros_like(valid))
    assert float(total) == 0 and float(weight) == 0
    with torch.autograd.detect_anomaly():
        assert not torch.autograd.grad(total, prediction)[0].any()


def test_gradients(name):
    prediction, target, valid = example(name)
    if name == "berhu":
        # The threshold is a constant in the gradient, so the residual that determines it must be one here.
        target[:3, 0, 0, 0], valid[:3, 0, 0, 0] = 20, True
        largest = torch.zeros_like(valid)
        largest[:3, 0, 0, 0] = True
        constant = prediction.detach().clone()
        assert torch.autograd.gradcheck(lambda x: build(name)(constant.where(largest, x), target, valid)[0], prediction)
    else:
        assert torch.autograd.gradcheck(lambda x: build(name)(x, target, valid)[0], prediction)


def test_threshold_of_berhu_is_constant_in_the_gradient():
    prediction = torch.tensor([1.0, 5.0, -10.0, 9.9], dtype=torch.float64, requires_grad=True)
    target = torch.zeros(1, 1, 2, 2)
    LOSSES["berhu"]()(prediction.view(1, 1, 2, 2), target, torch.ones_like(target, dtype=torch.bool))[0].backward()
    assert prediction.grad.tolist() == pytest.approx([1, 5 / 2, -10 / 2, 9.9 / 2])


@pytest.mark.parametrize("prediction", ["zero", "target", "huge"])
def test_gradients_are_finite_at_extreme_predictions(name, prediction):
    _, target, valid = example(name)
    target = target.float()
    numbers = {"zero": torch.zeros_like(target), "target": target.where(valid, 1), "huge": torch.full_like(target, 1e15)}
    prediction = numbers[prediction].clone().requires_grad_()
    total, _ = build(name)(prediction, target, valid)
    total.backward()
    assert total.isfinite() and prediction.grad.isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32(name, dtype, autocast):
    prediction, target, valid = example(name)
    prediction = prediction.detach().to(dtype).requires_grad_()
    expected = build(name)(prediction.float(), target.float(), valid)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        result = build(name)(prediction, target.float(), valid)
    assert [value.dtype for value in result] == [torch.float32, torch.float32]
    assert torch.equal(torch.stack(result), torch.stack(expected))
    assert torch.autograd.grad(result[0], prediction)[0].isfinite().all()


def test_scale_has_no_effect_if_the_variance_is_the_focus():
    prediction, target, valid = example("silog")
    prediction = prediction.clamp(min=MIN_VALUE)
    loss = LOSSES["silog"](variance_focus=1, min_value=MIN_VALUE)
    torch.testing.assert_close(loss(prediction * 3, target, valid)[0], loss(prediction, target, valid)[0])


@pytest.mark.parametrize("distance, pixels", [("l1", 7), ("l2", 5)])
def test_distance_of_sharp_peaks(distance, pixels):
    prediction, target = torch.zeros(1, 1, 30, 40), torch.zeros(1, 1, 30, 40)
    prediction[0, 0, 6, 13], target[0, 0, 10, 10] = 1, 1
    total, weight = LOSSES["soft_argmax"](distance=distance)(prediction, target, torch.ones_like(target, dtype=torch.bool))
    assert float(weight) == 1
    assert float(total) == pytest.approx(pixels / 50, rel=1e-4)


def test_sum_of_losses_is_the_sum_of_their_means():
    prediction, target, valid = example("cosine")
    parts = [LOSSES[name]() for name in ("l1", "l2", "berhu", "silog", "gradient", "cosine")]
    factors = [1, 0.5, 2, 0.1, 3, 0.7]
    expected = sum(
        factor * total / weight
        for factor, (total, weight) in zip(factors, (x(prediction, target, valid) for x in parts), strict=True)
    )
    total, weight = WeightedSum(parts, factors)(prediction, target, valid)
    torch.testing.assert_close(total / weight, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_shapes_must_be_equal(name, wrong):
    images = list(example(name))
    images[wrong] = images[wrong][:, :1]
    with pytest.raises(ValueError, match="must have the same shape"):
        build(name)(*images)


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("berhu", {"threshold": 0}, "threshold is 0"),
        ("silog", {"variance_focus": 1.1}, "variance_focus is 1.1"),
        ("silog", {"min_value": 0}, "min_value is 0"),
        ("gradient", {"min_value": -1}, "min_value is -1"),
        ("gradient", {"scales": 0}, "scales is 0"),
        ("cosine", {"min_norm": 0}, "min_norm is 0"),
        ("soft_argmax", {"temperature": 0}, "temperature is 0"),
        ("bce", {"positive_weights": [1, 0]}, r"positive_weights are \[1, 0\]"),
        ("bce", {"positive_weights": []}, r"positive_weights are \[\]"),
        ("soft_argmax", {"distance": "l3"}, "distance is 'l3'; it can be 'l1' or 'l2'"),
    ],
)
def test_arguments_are_checked(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name](**arguments)


@pytest.mark.parametrize("names, factors", [([], []), (["l1"], []), (["l1"], [1, 2])])
def test_sum_needs_a_weight_for_each_loss(names, factors):
    with pytest.raises(ValueError, match="one weight for each"):
        WeightedSum([LOSSES[name]() for name in names], factors)


def test_cross_entropy_of_labels_equals_that_of_torch():
    prediction, target, valid = labels()
    total, weight = LOSSES["bce"](positive_weights=[2.0])(prediction, target, valid)
    expected = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))(prediction[valid], target[valid])
    torch.testing.assert_close(total / weight, expected)
    total, _ = LOSSES["dice"]()(prediction[:1].sigmoid(), target[:1], torch.ones_like(valid[:1]))
    torch.testing.assert_close(total / 3, smp.losses.DiceLoss("multilabel")(prediction[:1], target[:1]))


def test_cross_entropy_corrects_certain_wrong_labels():
    """The sigmoid of 50 is 1 in float32, and has no gradient."""
    output = torch.tensor([50.0, -50.0, 200.0]).view(1, 3, 1, 1).requires_grad_()
    target = torch.tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1)
    total, _ = LOSSES["bce"]()(output, target, torch.ones_like(target, dtype=torch.bool))
    total.backward()
    assert float(total) == 100 and output.grad.flatten().tolist() == [1, -1, 0]


def test_number_of_positive_weights_is_checked():
    with pytest.raises(ValueError, match="2 positive_weights for 3 labels"):
        LOSSES["bce"](positive_weights=[1, 2])(*labels())


@pytest.mark.parametrize("module", [nn.HuberLoss(), nn.MSELoss()], ids=["huber", "mse"])
def test_modules_of_other_libraries(module):
    prediction, target, valid = example("l1")
    total, weight = build_loss(module, "none")(prediction, target, valid)
    filled = target[:3].where(valid[:3], prediction[:3].detach())
    expected = module(prediction[:3], filled)  # the last image has no valid value
    assert float(weight) == 3
    torch.testing.assert_close(total / 3, expected)
    found = torch.autograd.grad(total / 3, prediction)[0]
    assert found.isfinite().all() and found[valid].any() and not found[~valid].any()
    total, weight = build_loss(module, "none")(prediction, target, torch.zeros_like(valid))
    assert float(total) == float(weight) == 0 and not torch.autograd.grad(total, prediction)[0].any()


class Bias(ValueLoss):
    """A user's loss: the squared mean residual of each image."""

    def per_image(self, prediction, target, valid):
        count = valid.flatten(1).sum(1)
        mean = (prediction - target).where(valid, 0).flatten(1).sum(1) / count.clamp(min=1)
        return mean.square() * count, count


def test_losses_are_built():
    for name, loss in LOSSES.items():
        assert type(build_loss(name, "sigmoid")) is loss
    own = Bias()
    assert build_loss(own, "none") is own
    assert not build_loss({"bce": 1, "dice": 1}, "sigmoid").state_dict()  # checkpoints do not depend on the loss


@pytest.mark.parametrize(
    "loss, activation, message",
    [
        ("l3", "none", f"loss is 'l3'; choose from {', '.join(LOSSES)}"),
        ({"l1": -1}, "none", "weight of loss l1 is -1; it must be finite and at least 0"),
        ({"l1": math.nan}, "none", "weight of loss l1 is nan"),
        ({"l1": 0}, "none", "no weight above 0"),
        ({"l1": 1, "bce": 1}, "none", "activation is 'none', but the loss contains a sigmoid"),
        (nn.BCEWithLogitsLoss(), "sigmoid", "use the loss bce"),
    ],
)
def test_wrong_losses(loss, activation, message):
    with pytest.raises(ValueError, match=message):
        build_loss(loss, activation)


def test_loss_of_a_module_must_be_a_scalar():
    with pytest.raises(ValueError, match="L1Loss returns shape .*must be a scalar"):
        build_loss(nn.L1Loss(reduction="none"), "none")(*example("l1"))
