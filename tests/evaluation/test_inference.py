"""Prediction of whole images: both protocols against a slow reference, and properties of scales, flips, tiles and chunks."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from helpers.matlab import matlab_line
from helpers.networks import tiny
from torch import nn

from refinenet_pl.evaluation import test_time_augmentation
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.models.ops import chunked_upsampling, partial_resize
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask

# The test scales of the authors' code for all seven datasets.
PAPER_SCALES = (0.4, 0.6, 0.8, 1.0, 1.2)
CLASSES, VOID = 5, 255


class Patches(nn.Module):
    """Scores of separate 4x4 patches, in float64; upsampled bilinearly like those of a RefineNet."""

    upsampling = "bilinear"
    normalization = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def __init__(self, channels: int = CLASSES):
        super().__init__()
        generator = torch.Generator().manual_seed(channels)
        self.weight = nn.Parameter(torch.randn(channels, 3, 4, 4, generator=generator, dtype=torch.float64))

    def score_map(self, x):
        height, width = x.shape[-2:]
        x = nn.functional.pad(x.double(), (0, -width % 4, 0, -height % 4))
        return nn.functional.conv2d(x, self.weight, stride=4)


def samples(number: int = 2, height: int = 37, width: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images with some noise, and labels of which a tenth is void and class 3 is absent."""
    rng = np.random.default_rng(7)
    coarse = torch.from_numpy(rng.uniform(0, 255, (number, 3, height // 6, width // 6)))
    noise = torch.from_numpy(rng.normal(0, 12, (number, 3, height, width)))
    image = nn.functional.interpolate(coarse, (height, width), mode="bicubic") + noise
    label = rng.choice([0, 1, 2, 4, VOID], (number, height, width), p=[0.3, 0.3, 0.2, 0.1, 0.1])
    return image.clamp(0, 255).to(torch.uint8), torch.from_numpy(label)


def bilinear_line(source: int, target: int, antialias: bool = False) -> np.ndarray:
    """torch's bilinear interpolation as a matrix (target, source)."""
    weights, step = np.zeros((target, source)), source / target
    stretch = max(step, 1.0) if antialias else 1.0
    for place in range(target):
        center = (place + 0.5) * step - 0.5
        for tap in range(math.floor(center - stretch), math.ceil(center + stretch) + 1):
            inside = min(max(tap, 0), source - 1)
            if inside == tap or not antialias:  # without antialiasing, the edge is repeated
                weights[place, inside] += max(0.0, 1 - abs(tap - center) / stretch)
    return weights / weights.sum(1, keepdims=True)


def slow_resize(maps: np.ndarray, size: tuple[int, int], line, *arguments) -> np.ndarray:
    """(C, h, w) -> (C, *size)."""
    rows, columns = (line(source, target, *arguments) for source, target in zip(maps.shape[1:], size, strict=True))
    return rows @ maps @ columns.T


def slow_scores(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The score map of `Patches` for an image in 0..255."""
    _, height, width = image.shape
    padded = np.pad((image - 127.5) / 63.75, ((0, 0), (0, -height % 4), (0, -width % 4)))
    patches = padded.reshape(3, padded.shape[1] // 4, 4, padded.shape[2] // 4, 4)
    return np.einsum("crisj,kcij->krs", patches, weight)


def softmax(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits - logits.max(0))
    return power / power.sum(0)


def slow_standard(image, weight, scales, flip, void):
    """Class ids (H, W)."""
    size, total = image.shape[1:], 0
    for scale in scales:
        small = (round(scale * size[0]), round(scale * size[1]))
        scaled = slow_resize(image, small, bilinear_line, True)
        for step in (1, -1)[: 1 + flip]:
            logits = slow_scores(scaled[..., ::step], weight)
            logits = logits[{None: slice(None), "first": slice(1, None), "last": slice(None, -1)}[void]]
            total = total + softmax(slow_resize(slow_resize(logits, small, bilinear_line), size, bilinear_line))[..., ::step]
    return total.argmax(0)


def slow_paper(image, weight, scales, limits, void):
    """Class ids (H, W), and the number of classes for void."""
    size = image.shape[1:]
    clamp = max(limits[0], min(limits[1], min(size))) / min(size)
    maps = []
    for scale in scales:
        small = (math.ceil(clamp * scale * size[0]), math.ceil(clamp * scale * size[1]))
        rows, columns = (matlab_line(*sides, clamp * scale) for sides in zip(size, small, strict=True))
        maps.append(softmax(slow_scores(np.clip(np.round(rows @ image @ columns.T), 0, 255), weight)))

    def logs(probabilities, target):
        with np.errstate(divide="ignore"):
            floored = np.maximum(np.log(probabilities), -20)
        return slow_resize(floored, target, lambda before, after: matlab_line(before, after, after / before))

    fused = maps[0]
    if len(maps) > 1:
        maps = [np.round(m * 255) / 255 / len(maps) for m in maps]
        fused = maps[0]
        for other in maps[1:]:
            target = max(fused.shape[1], other.shape[1]), max(fused.shape[2], other.shape[2])
            fused = sum(m if m.shape[1:] == target else np.exp(logs(m, target)) for m in (fused, other))
    winner = logs(np.clip(fused, 0, 1), size).argmax(0)
    return (winner - 1) % (CLASSES + 1) if void == "first" else winner


def assert_counts(void, slow, **arguments) -> np.ndarray:
    """Compare the confusion matrix of a task's test protocol with that of a reference, and return it."""
    task = SegmentationTask(Patches(CLASSES + (void is not None)), CLASSES, VOID, void_channel=void, **arguments)
    task.evaluators["test"].inference = task.test_inference
    weight, confusion = task.network.weight.detach().numpy(), task.evaluators["test"].confusion
    expected = np.zeros(confusion.counts.shape, int)
    for index, (image, label) in enumerate(zip(*samples(), strict=True)):
        with torch.inference_mode():
            task.test_step({"image": image[None], "mask": label[None]}, index)
        valid = label.numpy() != VOID
        np.add.at(expected, (label.numpy()[valid], slow(image.double().numpy(), weight)[valid]), 1)
    assert confusion.compute().tolist() == expected.tolist()
    return expected


@pytest.mark.parametrize("void", [None, "last", "first"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.3)])
def test_standard_protocol(void, flip, scales):
    slow = partial(slow_standard, scales=scales, flip=flip, void=void)
    expected = assert_counts(void, slow, test_scales=scales, test_flip=flip)
    assert expected.sum() == (samples()[1] != VOID).sum()


@pytest.mark.parametrize("void", [None, "last", "first"])
@pytest.mark.parametrize("scales", [(1.0,), (0.8,), PAPER_SCALES])
def test_paper_protocol(void, scales):
    slow = partial(slow_paper, scales=scales, limits=(45, 60), void=void)
    expected = assert_counts(void, slow, protocol="paper", test_scales=scales, short_edge=(45, 60))
    assert void is None or expected[:, -1].sum() > 0, "void is never predicted, so this would not test how it is counted"


VIEWS = [Inference(), Inference("paper", (0.5, 1.0), short_edge=(40, 80)), Inference(scales=(0.5, 1.0), flip=True)]
VIEWS += [Inference(scales=(0.5, 1.0), flip=True, tile=(40, 80))]


def scaled(image: torch.Tensor) -> torch.Tensor:
    return image.float() / 255


def probabilities(inference: Inference, network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([part for _, part in inference.log_probabilities(network, image, scaled)], 2).exp()


@pytest.fixture(scope="module")
def network() -> RefineNet:
    torch.manual_seed(0)
    return tiny(classes=CLASSES).eval()


@pytest.mark.parametrize("upsampling", ["bilinear", "bilinear_aligned", "bicubic"])
def test_one_view_equals_forward(network, upsampling, monkeypatch):
    image = samples(2, 61, 83)[0]
    monkeypatch.setattr(network, "upsampling", upsampling)
    with torch.inference_mode():
        expected = network(scaled(image)).softmax(1)
    assert torch.allclose(probabilities(Inference(), network, image), expected, atol=1e-6)


@pytest.mark.parametrize("inference", VIEWS[1:])
def test_chunks_limit_the_memory_and_change_nothing(network, inference, monkeypatch):
    image = samples(1, 61, 83)[0]
    whole = probabilities(inference, network, image)
    assert whole.shape == (1, CLASSES, 61, 83) and torch.allclose(whole.sum(1), torch.ones(1, 61, 83), atol=1e-5)
    monkeypatch.setattr(chunked_upsampling, "CHUNK_BYTES", 4 * CLASSES * 83 * 7)
    rows = [rows for rows, _ in inference.log_probabilities(network, image, scaled)]
    assert [r.start for r in rows] == list(range(0, 61, 7)) and rows[-1].stop == 61
    assert torch.allclose(probabilities(inference, network, image), whole, atol=1e-6)


@pytest.mark.parametrize("inference", VIEWS)
def test_averages_are_exact_under_autocast(inference):
    class Exact(Patches):
        """Returns the same float32 scores under autocast."""

        def score_map(self, x):
            with torch.autocast("cpu", enabled=False):
                return super().score_map(x).float()

    network, image = Exact(), samples(2, 80, 120)[0]
    expected = probabilities(inference, network, image)
    for cached in chunked_upsampling.sampling, partial_resize._weights, test_time_augmentation._view_sampling:
        cached.cache_clear()
    with torch.autocast("cpu", torch.bfloat16):
        found = probabilities(inference, network, image)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_tiles_of_a_network_that_upsamples_its_images():
    class Upsampling(Patches):
        def score_map(self, x):
            return super().score_map(nn.functional.interpolate(x, scale_factor=1.2, mode="bilinear"))

    network, image = Upsampling(), samples(1, 200, 280)[0]
    whole, tiled = (probabilities(Inference(tile=tile), network, image) for tile in (None, (120, 160)))
    # Only pixels next to the seams can differ, because upsampling has another neighbor there.
    assert ((tiled - whole).abs().amax(1) < 1e-4).float().mean() > 0.9


REFUSED = [{"scales": ()}, {"scales": (1.0, 0.0)}, {"tile": (0, 40)}, {"tile_overlap": 1.0}]
REFUSED += [{"tile": (512, 512), "protocol": "paper"}]


@pytest.mark.parametrize("arguments", REFUSED)
def test_refuses_arguments_outside_their_range(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Inference(**arguments)


def test_names_of_views():
    views = [Inference(), Inference(scales=(0.8,)), Inference(scales=PAPER_SCALES, flip=True)]
    assert [view.name for view in views] == ["", "scale 0.8", "multi-scale, flip"]
