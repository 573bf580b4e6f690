"""Losses of segmentation: values, gradients, void pixels and memory, against loops over NumPy arrays."""

import math
from typing import get_args

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from helpers.peak import Peak
from torch import nn

from refinenet_pl.models.ops import chunked_upsampling
from refinenet_pl.models.ops.resize import resize
from refinenet_pl.tasks.losses import segmentation, values
from refinenet_pl.tasks.losses.boundary import border_distance
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy
from refinenet_pl.tasks.losses.plain import PlainLoss
from refinenet_pl.tasks.losses.segmentation import SEGMENTATION_LOSSES, WeightedSum, build_loss

VOID = 255
CHANNELS = 6  # four classes that occur, one that does not, and a void output
SIZE = (10, 13)
WEIGHTS = [0.5, 2.0, 1.25, 0.75, 3.0, 1.0]


def labeled(label):
    return [i for i in np.ndindex(label.shape) if label[i] != VOID]


def cross_entropy(smoothing=0.0):
    def reference(log_p, label, weights):
        total = 0
        for i in labeled(label):
            own = -weights[label[i]] * log_p[label[i]][i]
            uniform = -sum(weights[c] * log_p[c][i] for c in range(CHANNELS)) / CHANNELS
            total += (1 - smoothing) * own + smoothing * uniform
        return total, sum(weights[label[i]] for i in labeled(label))

    return reference


def focal(gamma):
    def reference(log_p, label, weights):
        own = {i: log_p[label[i]][i] for i in labeled(label)}
        total = sum(-weights[label[i]] * (1 - math.exp(x)) ** gamma * x for i, x in own.items())
        return total, sum(weights[label[i]] for i in own)

    return reference


def ohem(threshold, min_kept):
    def reference(log_p, label, weights):
        own = {i: log_p[label[i]][i] for i in labeled(label)}
        hardest = sorted(own, key=own.get)[: math.ceil(min_kept * len(own))]
        kept = {*hardest, *(i for i, x in own.items() if math.exp(x) < threshold)}
        return sum(-weights[label[i]] * own[i] for i in kept), sum(weights[label[i]] for i in kept)

    return reference


def boundary(factor, sigma):
    def reference(log_p, label, weights):
        total, weight = 0, 0
        for i in labeled(label):
            others = (max(abs(i[0] - j[0]), abs(i[1] - j[1])) for j in labeled(label) if label[j] != label[i])
            distance = min(others, default=math.inf)
            near = math.exp(-(distance**2) / (2 * sigma**2)) if distance <= 4 * sigma else 0
            pixel = weights[label[i]] * (1 + factor * near)
            total, weight = total - pixel * log_p[label[i]][i], weight + pixel
        return total, weight

    return reference


def mean_over_classes(class_loss):
    def reference(log_p, label, weights):
        present = {label[i] for i in labeled(label)}
        if not present:
            return 0, 0
        total = sum(weights[c] * class_loss(np.exp(log_p[c]), label, c) for c in present)
        return total / sum(weights[c] for c in present), 1

    return reference


def tversky(alpha, beta, gamma=1.0):
    def class_loss(p, label, c):
        overlap = sum(p[i] for i in labeled(label) if label[i] == c)
        excess = sum(p[i] for i in labeled(label) if label[i] != c)
        missing = sum(1 - p[i] for i in labeled(label) if label[i] == c)
        return (1 - overlap / (overlap + alpha * excess + beta * missing)) ** (1 / gamma)

    return mean_over_classes(class_loss)


def lovasz(p, label, c):
    """Sum of the errors, each multiplied by the increase of 1 - IoU by its pixel, from the sets of pixels."""
    region = {i for i in labeled(label) if label[i] == c}
    errors = {i: 1 - p[i] if i in region else p[i] for i in labeled(label)}
    total, wrong, before = 0, set(), 0
    for i in sorted(errors, key=errors.get, reverse=True):
        wrong.add(i)
        now = 1 - len(region - wrong) / len(region | wrong)
        total, before = total + errors[i] * (now - before), now
    return total


def weighted_sum(count_images, *parts):
    def reference(log_p, label, weights):
        count = sum(weights[label[i]] for i in labeled(label))
        count = min(count, 1) if count_images else count
        sums = [(factor, *part(log_p, label, weights)) for factor, part in parts]
        return sum(factor * total / max(weight, 1e-9) for factor, total, weight in sums) * count, count

    return reference


CASES = {
    "cross_entropy": ({}, cross_entropy()),
    "cross_entropy smoothed": ({"label_smoothing": 0.2}, cross_entropy(0.2)),
    "focal": ({}, focal(2)),
    "focal 0.5": ({"gamma": 0.5}, focal(0.5)),
    "ohem": ({"threshold": 0.1, "min_kept": 0.25}, ohem(0.1, 0.25)),
    "ohem share": ({"threshold": 0, "min_kept": 0.125}, ohem(0, 0.125)),
    "ohem threshold": ({"threshold": 0.4, "min_kept": 0}, ohem(0.4, 0)),
    "dice": ({}, tversky(0.5, 0.5)),
    "tversky": ({}, tversky(0.3, 0.7)),
    "tversky focal": ({"alpha": 1, "beta": 0.25, "gamma": 4 / 3}, tversky(1, 0.25, 4 / 3)),
    "lovasz": ({}, mean_over_classes(lovasz)),
    "boundary": ({}, boundary(10, 5)),
    "boundary narrow": ({"factor": 3, "sigma": 0.6}, boundary(3, 0.6)),
    "sum": (
        {"cross_entropy": 1, "dice": 0.3, "ohem": 2},
        weighted_sum(False, (1, cross_entropy()), (0.3, tversky(0.5, 0.5)), (2, ohem(0.7, 1 / 16))),
    ),
    "sum of images": (
        {"dice": 1, "lovasz": 0.5},
        weighted_sum(True, (1, tversky(0.5, 0.5)), (0.5, mean_over_classes(lovasz))),
    ),
}


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture(params=[None, WEIGHTS], ids=["equal", "weighted"])
def weights(request):
    return request.param


def build(name, weights=None):
    options = CASES[name][0]
    if name.startswith("sum"):
        return build_loss(options, VOID, weights)
    return SEGMENTATION_LOSSES[name.split()[0]](VOID, weights, **options)


def example(size=SIZE, scores_size=(4, 5)):
    """Four images with 10 %, 50 %, 80 % and 100 % of void pixels; the second one lacks two of the four classes."""
    scores = 2 * torch.randn(4, CHANNELS, *scores_size, dtype=torch.float64)
    label = torch.randint(4, (4, *size))
    label[1] = label[1] % 2
    label[:3, 2:6, 3:9] = torch.arange(3)[:, None, None] % 2  # a region, so that some pixels are far from a border
    share = torch.tensor([0.1, 0.5, 0.8, 1.1])
    return scores.requires_grad_(), label.masked_fill(torch.rand(label.shape) < share[:, None, None], VOID)


def gradient(loss, scores, label, how="bilinear"):
    total, weight = loss(scores, label, how)
    return total, weight, torch.autograd.grad(total, scores)[0]


def test_every_loss_has_a_reference():
    assert {name.split()[0] for name in CASES} == {*SEGMENTATION_LOSSES, "sum"}


@pytest.mark.parametrize(
    "how, scores_size, rows", [("bilinear", (4, 5), 3), ("bicubic", (4, 5), 1000), ("bilinear_aligned", SIZE, 1)]
)
def test_loss_equals_its_reference(name, weights, how, scores_size, rows, monkeypatch):
    monkeypatch.setattr(chunked_upsampling, "CHUNK_BYTES", rows * 4 * 4 * CHANNELS * SIZE[1])
    scores, label = example(scores_size=scores_size)
    total, weight = build(name, weights)(scores, label, how)
    log_p = resize(scores, SIZE, how).log_softmax(1).detach().numpy()
    images = zip(log_p, label.numpy(), strict=True)
    expected = np.sum([CASES[name][1](*image, weights or [1] * CHANNELS) for image in images], axis=0)
    assert total.shape == weight.shape == ()
    assert (float(total), float(weight)) == pytest.approx(tuple(expected), rel=1e-10)


def test_gradients_do_not_depend_on_the_distribution_of_images(name, weights):
    loss, (scores, label) = build(name, weights), example()
    expected, divisor, expected_gradient = gradient(loss, scores, label)
    for processes in ([[0, 1], [2, 3]], [[3], [2], [1], [0]], [[0, 3, 1], [2]]):
        parts = []
        for images in processes:
            total, weight = loss(scores[images], label[images], "bilinear")
            parts.append((total, weight, torch.autograd.grad(total, scores)[0]))
        total, weight, found = (sum(values) for values in zip(*parts, strict=True))
        torch.testing.assert_close(total / weight, expected / divisor, rtol=1e-12, atol=0)
        torch.testing.assert_close(found / weight, expected_gradient / divisor, rtol=1e-12, atol=1e-15)


def test_void_pixels_have_no_effect(name, weights):
    loss, (scores, label) = build(name, weights), example(scores_size=SIZE)
    total, weight, found = gradient(loss, scores, label)
    void = (label == VOID)[:, None].expand_as(scores)
    assert found.isfinite().all() and found.any() and not found[void].any()
    others = scores.detach().where(~void, 50 * torch.randn_like(scores)).requires_grad_()
    for value, other in zip((total, weight, found), gradient(loss, others, label), strict=True):
        torch.testing.assert_close(other, value, rtol=1e-12, atol=0)


def test_without_a_labeled_pixel(name, weights):
    scores, label = example()
    with torch.autograd.detect_anomaly():  # raises an error for any NaN in the backward pass
        total, weight, found = gradient(build(name, weights), scores, torch.full_like(label, VOID))
    assert float(total) == 0 and float(weight) == 0 and not found.any()


def test_any_class_can_be_ignored(name, weights):
    scores, label = example()
    loss = build(name, weights)
    expected = gradient(loss, scores, label.masked_fill(label == 1, VOID))
    for part in loss.modules():
        part.ignore_index = 1
    for value, other in zip(expected, gradient(loss, scores, label.masked_fill(label == VOID, 1)), strict=True):
        torch.testing.assert_close(other, value, rtol=1e-12, atol=0)


def test_gradients(name, weights):
    scores, label = example((4, 5), (2, 2))
    loss, scores = build(name, weights), scores.detach()[:2].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, label[:2], "bilinear")[0], scores)


@pytest.mark.parametrize("factor", [0, 1e2, 1e4])
def test_gradients_are_finite_at_extreme_scores(name, factor):
    """Probabilities are equal, or exactly 0 and 1 in float32, both right and wrong."""
    scores, label = example(scores_size=SIZE)
    scores = (factor * scores.detach().float()).requires_grad_()
    with torch.autograd.detect_anomaly():
        total, _, found = gradient(build(name), scores, label)
    assert total.isfinite() and found.isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32(name, weights, dtype, autocast):
    scores, label = example()
    scores = scores.detach().to(dtype)
    expected = build(name, weights)(scores.float(), label, "bilinear")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        result = build(name, weights)(scores, label, "bilinear")
    assert [value.dtype for value in result] == [torch.float32, torch.float32]
    assert torch.equal(torch.stack(result), torch.stack(expected))


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_memory_is_bounded(name, monkeypatch):
    """At most a few chunks and maps without a dimension of classes, for 150 classes."""
    monkeypatch.setattr(chunked_upsampling, "CHUNK_BYTES", 2**19)
    scores, label = torch.randn(1, 150, 8, 8, requires_grad=True), torch.randint(20, (1, 160, 160))
    loss = build_loss(name, VOID, None)
    loss(scores, label, "bilinear")  # fills the cache of interpolation matrices
    with Peak() as peak:
        loss(scores, label, "bilinear")[0].backward()
    pixels = 4 * label.numel()
    assert peak.bytes < 6 * 2**19 + 20 * pixels < 150 * pixels / 2


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_cross_entropy_equals_that_of_torch(weights, smoothing):
    scores, label = example()
    scores = scores.detach().float()
    loss = SEGMENTATION_LOSSES["cross_entropy"](VOID, weights, label_smoothing=smoothing)
    total, weight = loss(scores, label, "bilinear")
    tensor = None if weights is None else torch.tensor(weights)
    logits = resize(scores, SIZE, "bilinear")
    torch.testing.assert_close(
        total / weight, F.cross_entropy(logits, label, tensor, ignore_index=VOID, label_smoothing=smoothing)
    )
    if not smoothing:
        assert torch.equal(
            torch.stack([total, weight]), torch.stack(upsampled_cross_entropy(scores, label, "bilinear", tensor, VOID))
        )


def test_region_losses_of_certain_predictions():
    """Probabilities of 0 and 1: the losses are 1 minus the mean of Dice, of the Tversky index, and of IoU."""
    label = torch.tensor([[[0, 0, 0, 1], [1, 1, 2, VOID]]])
    prediction = torch.tensor([[[0, 0, 1, 1], [1, 3, 2, 2]]])
    scores = 1e3 * F.one_hot(prediction, 4).movedim(-1, 1).double()
    expected = {"dice": [4 / 5, 4 / 6, 1], "tversky": [2 / 2.7, 2 / 3, 1], "lovasz": [2 / 3, 2 / 4, 1]}
    for name, scores_of_classes in expected.items():
        total, weight = build(name)(scores, label, "bilinear")
        assert float(weight) == 1
        assert float(total) == pytest.approx(1 - sum(scores_of_classes) / 3)


def test_lovasz_is_accurate_in_float32():
    """Each increase of 1 - IoU is a difference of the order of the rounding error, if it is computed by subtraction."""
    scores, label = torch.randn(1, 3, 300, 300, dtype=torch.float64, requires_grad=True), torch.randint(3, (1, 300, 300))
    exact = gradient(build("lovasz"), scores, label)[2]
    found = gradient(build("lovasz"), scores.detach().float().requires_grad_(), label)[2]
    assert (found - exact).abs().sum() < 1e-4 * exact.abs().sum()


def test_ohem_keeps_the_hardest_pixels_of_each_image():
    scores = torch.zeros(2, 2, 1, 8)
    scores[:, 0, 0] = torch.arange(8.0)
    scores[1] += torch.tensor([3.0, -3.0])[:, None, None]  # an image of which all pixels are easier
    label = torch.zeros(2, 1, 8, dtype=torch.long)
    label[0, 0, 0] = VOID
    loss = SEGMENTATION_LOSSES["ohem"](VOID, threshold=0, min_kept=0.25)
    found = gradient(loss, scores.requires_grad_(), label)[2]
    assert found[:, 0, 0].ne(0).long().tolist() == [[0, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]]


def test_distance_to_the_nearest_labeled_pixel_of_another_class():
    row = torch.tensor([3, 3, 3, VOID, VOID, 7, 7, 7, VOID, 7])
    distance = border_distance(row.repeat(1, 4, 1), VOID, 4)[0]
    assert distance[:, row != VOID].tolist() == [[5, 4, 3, 3, 4, 5, 5]] * 4
    corner = torch.tensor([[[1, 1, 1], [1, 1, 1], [1, 1, 0]]])
    assert border_distance(corner, VOID, 9)[0].tolist() == [[2, 2, 2], [2, 1, 1], [2, 1, 1]]


def test_sum_of_losses_is_the_sum_of_their_means(weights):
    scores, label = example()
    for names in (["cross_entropy", "focal"], ["dice", "tversky", "lovasz"]):
        factors = [0.5, 3, 0.1][: len(names)]
        parts = [build_loss(name, VOID, weights)(scores, label, "bilinear") for name in names]
        expected = sum(factor * total / weight for factor, (total, weight) in zip(factors, parts, strict=True))
        for order in (1, -1):
            combined = dict([*zip(names, factors, strict=True)][::order])
            total, weight = build_loss(combined, VOID, weights)(scores, label, "bilinear")
            torch.testing.assert_close(total / weight, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "module",
    [nn.CrossEntropyLoss(ignore_index=VOID), smp.losses.DiceLoss("multiclass", ignore_index=VOID, eps=1e-9)],
    ids=["torch", "smp"],
)
def test_modules_of_other_libraries(module):
    scores, label = example()
    expected = module(resize(scores[:3], SIZE, "bicubic"), label[:3])
    total, weight, found = gradient(build_loss(module, VOID, None), scores, label, "bicubic")
    assert float(weight) == 3  # the last image is void
    torch.testing.assert_close(total / 3, expected)
    torch.testing.assert_close(found / 3, torch.autograd.grad(expected, scores)[0])
    with torch.autograd.detect_anomaly():
        total, weight, found = gradient(PlainLoss(module, VOID), scores, torch.full_like(label, VOID))
    assert float(total) == float(weight) == 0 and not found.any()


def test_losses_are_built_by_name():
    for name, loss in SEGMENTATION_LOSSES.items():
        assert type(build_loss(name, VOID, WEIGHTS)) is loss
    own = SEGMENTATION_LOSSES["focal"](VOID, gamma=1)
    assert build_loss(own, VOID, None) is own
    assert not build_loss("dice", VOID, WEIGHTS).state_dict()  # checkpoints do not depend on the loss


FOCAL = SEGMENTATION_LOSSES["focal"](0)


@pytest.mark.parametrize(
    "loss, class_weights, message",
    [
        ("dise", None, f"loss is 'dise'; choose from {', '.join(SEGMENTATION_LOSSES)}"),
        ({"dice": 1, "iou": 1}, None, "loss is 'iou'"),
        ({"dice": -1}, None, "weight of loss dice is -1; it must be finite and at least 0"),
        ({"dice": math.nan}, None, "weight of loss dice is nan"),
        ({"dice": 0}, None, "no weight above 0"),
        ({}, None, "no weight above 0"),
        ("dice", [1, -2], r"class_weights are \[1, -2\]"),
        (nn.CrossEntropyLoss(), [1, 2], "give them to CrossEntropyLoss"),
        (FOCAL, None, "ignore_index of the loss is 0; set it to that of the labels, 255"),
    ],
)
def test_wrong_losses(loss, class_weights, message):
    with pytest.raises(ValueError, match=message):
        build_loss(loss, VOID, class_weights)


@pytest.mark.parametrize(
    "name, option, value",
    [
        ("cross_entropy", "label_smoothing", 1),
        ("focal", "gamma", -1),
        ("ohem", "threshold", 1.1),
        ("ohem", "min_kept", -0.1),
        ("tversky", "alpha", -1),
        ("tversky", "beta", 0),
        ("tversky", "gamma", 0),
        ("boundary", "factor", -1),
        ("boundary", "sigma", 0),
    ],
)
def test_options_are_checked(name, option, value):
    with pytest.raises(ValueError, match=f"{option} is {value}; it must be "):
        SEGMENTATION_LOSSES[name](VOID, **{option: value})


def test_ohem_must_keep_a_pixel():
    with pytest.raises(ValueError, match="keeps no pixel"):
        SEGMENTATION_LOSSES["ohem"](VOID, threshold=0, min_kept=0)


def test_shapes_and_numbers_of_weights_are_checked(name):
    scores, label = example()
    with pytest.raises(ValueError, match="must have the shapes"):
        build(name)(scores, label[:3], "bilinear")
    with pytest.raises(ValueError, match="2 class weights for 6 channels"):
        build(name, [1, 2])(scores, label, "bilinear")


def test_losses_of_a_sum_are_checked():
    with pytest.raises(ValueError, match="one weight for each"):
        WeightedSum([FOCAL], [])
    with pytest.raises(ValueError, match="different values of ignore_index"):
        WeightedSum([FOCAL, SEGMENTATION_LOSSES["dice"](1)], [1, 1])


def test_a_module_must_return_a_scalar():
    scores, label = example()
    with pytest.raises(ValueError, match=r"CrossEntropyLoss returns shape \(3, 10, 13\)"):
        PlainLoss(nn.CrossEntropyLoss(ignore_index=VOID, reduction="none"), VOID)(scores, label, "bilinear")


@pytest.mark.parametrize("module", [segmentation, values])
def test_names_of_the_option_are_those_of_the_losses(module):
    losses = module.SEGMENTATION_LOSSES if module is segmentation else module.LOSSES
    assert get_args(module.LossName) == tuple(losses)
