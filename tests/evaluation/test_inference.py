"""Evaluation of whole images: both protocols against a slow NumPy reference, and scales, flips, tiles and chunks."""

import math

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from refinenet_pl.evaluation import test_time_augmentation
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.metrics.confusion import scores
from refinenet_pl.models.ops import chunked_upsampling, partial_resize
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask

# The test scales of the authors' code for all seven datasets.
PAPER_SCALES = (0.4, 0.6, 0.8, 1.0, 1.2)
CLASSES, VOID = 5, 255
NAMES = ["sky", "road", "car", "tree", "pole"]


class Patches(nn.Module):
    """Scores of 4x4 patches, each from its own pixels alone, in float64; as a RefineNet does, it enlarges them bilinearly."""

    upsampling = "bilinear"
    normalization = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def __init__(self, channels: int):
        super().__init__()
        generator = torch.Generator().manual_seed(channels)
        self.weight = nn.Parameter(torch.randn(channels, 3, 4, 4, generator=generator, dtype=torch.float64))

    def score_map(self, x):
        height, width = x.shape[-2:]
        x = nn.functional.pad(x.double(), (0, -width % 4, 0, -height % 4))
        return nn.functional.conv2d(x, self.weight, stride=4)

    def forward(self, x):
        return nn.functional.interpolate(self.score_map(x), x.shape[-2:], mode="bilinear")


def pictures(number: int = 2, height: int = 37, width: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth pictures with some noise, and labels of which a tenth is void and class 3 never occurs."""
    rng = np.random.default_rng(7)
    coarse = torch.from_numpy(rng.uniform(0, 255, (number, 3, height // 6, width // 6)))
    image = nn.functional.interpolate(coarse, (height, width), mode="bicubic").numpy() + rng.normal(
        0, 12, (number, 3, height, width)
    )
    label = rng.choice([0, 1, 2, 4, VOID], (number, height, width), p=[0.3, 0.3, 0.2, 0.1, 0.1])
    return torch.from_numpy(image.clip(0, 255).astype(np.uint8)), torch.from_numpy(label)


# The reference: one picture, one pixel, one kernel tap at a time.


def triangle(x):
    return max(0.0, 1 - abs(x))


def cubic(x):  # MATLAB's, a = -0.5
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_line(values: np.ndarray, target: int, kernel, antialias: bool, growth: float | None = None) -> np.ndarray:
    """Resample along the last axis."""
    source = values.shape[-1]
    step = 1 / growth if growth else source / target
    stretch = max(step, 1.0) if antialias else 1.0
    out = np.zeros((*values.shape[:-1], target))
    for place in range(target):
        center = (place + 0.5) * step
        weights = {}
        for index in range(math.floor(center - 3 * stretch), math.ceil(center + 3 * stretch)):
            weight = kernel((index + 0.5 - center) / stretch)
            inside = index
            if kernel is cubic:  # MATLAB mirrors at the edge
                while not 0 <= inside < source:
                    inside = -1 - inside if inside < 0 else 2 * source - 1 - inside
            elif antialias and not 0 <= index < source:
                continue  # for torch, what lies outside has no weight
            else:  # without antialiasing, the edge goes on
                inside = min(max(index, 0), source - 1)
            weights[inside] = weights.get(inside, 0.0) + weight
        total = sum(weights.values())
        out[..., place] = sum(values[..., index] * weight / total for index, weight in weights.items())
    return out


def slow_resize(
    maps: np.ndarray, size: tuple[int, int], kernel=triangle, antialias: bool = False, growth: float | None = None
) -> np.ndarray:
    """(C, h, w) -> (C, *size)."""
    wide = slow_line(maps, size[1], kernel, antialias, growth)
    return slow_line(wide.transpose(0, 2, 1), size[0], kernel, antialias, growth).transpose(0, 2, 1)


def slow_scores(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The network `Patches` on a picture of 0..255."""
    x = (image - 127.5) / 63.75
    rows, columns = -(-x.shape[1] // 4), -(-x.shape[2] // 4)
    padded = np.zeros((3, 4 * rows, 4 * columns))
    padded[:, : x.shape[1], : x.shape[2]] = x
    out = np.zeros((len(weight), rows, columns))
    for row in range(rows):
        for column in range(columns):
            patch = padded[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            for channel in range(len(weight)):
                out[channel, row, column] = (patch * weight[channel]).sum()
    return out


def softmax(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits - logits.max(0))
    return power / power.sum(0)


def slow_standard(image, weight, scales, flip, void):
    """Class ids (H, W)."""
    size = image.shape[1:]
    total = 0
    for scale in scales:
        small = (round(scale * size[0]), round(scale * size[1]))
        scaled = image if small == size else slow_resize(image, small, triangle, antialias=True)
        for mirrored in (False, True)[: 1 + flip]:
            logits = slow_scores(scaled[..., ::-1] if mirrored else scaled, weight)
            if void == "first":
                logits = logits[1:]
            if void == "last":
                logits = logits[:-1]
            logits = slow_resize(slow_resize(logits, small), size)
            probabilities = softmax(logits)
            total = total + (probabilities[..., ::-1] if mirrored else probabilities)
    return total.argmax(0)


def slow_paper(image, weight, scales, void, limits):
    """Class ids (H, W); the number of classes stands for void."""
    size = image.shape[1:]
    short = min(size)
    clamp = max(limits[0], min(limits[1], short)) / short
    maps = []
    for scale in scales:
        small = (math.ceil(clamp * scale * size[0]), math.ceil(clamp * scale * size[1]))
        scaled = np.clip(np.round(slow_resize(image, small, cubic, True, clamp * scale)), 0, 255)
        maps.append(softmax(slow_scores(scaled, weight)))

    def in_log_space(probabilities, target):
        if probabilities.shape[1:] == target:
            return probabilities
        return np.exp(slow_resize(np.maximum(np.log(probabilities), -20), target, cubic, antialias=True))

    fused = maps[0]
    if len(maps) > 1:
        maps = [np.round(m * 255) / 255 / len(maps) for m in maps]
        fused = maps[0]
        with np.errstate(divide="ignore"):
            for other in maps[1:]:
                target = max(fused.shape[1], other.shape[1]), max(fused.shape[2], other.shape[2])
                fused = in_log_space(fused, target) + in_log_space(other, target)
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(np.clip(fused, 0, 1)), -20)
    winner = slow_resize(logs, size, cubic, antialias=True).argmax(0)
    return (winner - 1) % (CLASSES + 1) if void == "first" else winner


def slow_confusion(prediction: np.ndarray, label: np.ndarray, columns: int) -> list[list[int]]:
    table = [[0] * columns for _ in range(CLASSES)]
    for row in range(label.shape[0]):
        for column in range(label.shape[1]):
            if label[row, column] != VOID:
                table[label[row, column]][prediction[row, column]] += 1
    return table


def evaluated(void, **arguments) -> SegmentationTask:
    """A task that has counted the pictures under its test protocol."""
    network = Patches(CLASSES + (void is not None))
    task = SegmentationTask(network, CLASSES, VOID, void_channel=void, short_edge=(45, 60), **arguments)
    task.evaluators["test"].inference = task.test_inference
    image, label = pictures()
    with torch.inference_mode():
        for one in range(len(image)):
            task.test_step({"image": image[one : one + 1], "mask": label[one : one + 1]}, one)
    return task


@pytest.mark.parametrize("void", [None, "last", "first"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.3)])
def test_standard_protocol_is_that_of_the_reference_to_the_last_pixel(void, flip, scales):
    task = evaluated(void, test_scales=scales, test_flip=flip)
    image, label = pictures()
    weight = task.network.weight.detach().numpy()
    expected = sum(
        np.array(slow_confusion(slow_standard(x, weight, scales, flip, void), y, CLASSES))
        for x, y in zip(image.double().numpy(), label.numpy(), strict=True)
    )
    assert task.evaluators["test"].confusion.compute().tolist() == expected.tolist()
    assert expected.sum() == (label != VOID).sum()


@pytest.mark.parametrize("void", [None, "last", "first"])
@pytest.mark.parametrize("scales", [(1.0,), (0.8,), PAPER_SCALES])
def test_paper_protocol_is_that_of_the_reference_to_the_last_pixel(void, scales):
    task = evaluated(void, protocol="paper", test_scales=scales)
    image, label = pictures()
    weight = task.network.weight.detach().numpy()
    columns = CLASSES + (void is not None)
    expected = sum(
        np.array(slow_confusion(slow_paper(x, weight, scales, void, (45, 60)), y, columns))
        for x, y in zip(image.double().numpy(), label.numpy(), strict=True)
    )
    assert task.evaluators["test"].confusion.compute().tolist() == expected.tolist()
    assert void is None or expected[:, -1].sum() > 0, "void is never predicted: this would not test what becomes of it"


def test_means_of_both_protocols():
    confusion = np.array([[6, 1, 1, 2], [0, 4, 0, 0], [0, 0, 0, 0]])  # the third class has no label; the last column is void
    paper = scores(confusion, ["a", "b", "c"], labelled_only=True)
    assert paper.iou == {"a": 6 / 10, "b": 4 / 5, "c": None}
    assert paper.miou == pytest.approx((0.6 + 0.8) / 2)
    assert paper.pixel_accuracy == pytest.approx(10 / 14) and paper.mean_accuracy == pytest.approx((0.6 + 1) / 2)
    standard = scores(confusion[:, :3], ["a", "b", "c"])
    assert standard.iou == {"a": 6 / 8, "b": 4 / 5, "c": 0.0}
    assert standard.miou == pytest.approx((0.75 + 0.8 + 0) / 3)


# What must hold for any network


def probabilities(inference: Inference, network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        parts = inference.log_probabilities(network, image, lambda x: x.float() / 255)
        return torch.cat([part for _, part in parts], 2).exp()


@pytest.fixture(scope="module")
def network() -> RefineNet:
    torch.manual_seed(0)
    return RefineNet("resnet18", None, classes=CLASSES, width=8, deepest_width=16, decoder_init="scaled").eval()


@pytest.mark.parametrize("upsampling", ["bilinear", "bilinear_aligned", "bicubic"])
def test_one_view_is_what_forward_gives(network, upsampling):
    image = pictures(2, 61, 83)[0]
    network.upsampling, before = upsampling, network.upsampling
    with torch.inference_mode():
        expected = network(image.float() / 255).softmax(1)
    found = probabilities(Inference(), network, image)
    network.upsampling = before
    assert torch.allclose(found, expected, atol=1e-6)


def test_probabilities_sum_to_one_at_the_size_of_the_picture(network):
    for inference in Inference(scales=(0.5, 1.0), flip=True), Inference("paper", PAPER_SCALES, short_edge=(40, 80)):
        found = probabilities(inference, network, pictures(2, 61, 83)[0])
        assert found.shape == (2, CLASSES, 61, 83)
        assert torch.allclose(found.sum(1), torch.ones(2, 61, 83), atol=1e-5)


@pytest.mark.parametrize(
    "inference",
    [
        Inference(scales=(0.5, 1.0), flip=True),
        Inference(scales=(0.5, 1.0), flip=True, tile=(40, 80)),
        Inference("paper", (0.5, 1.0), short_edge=(40, 80)),
    ],
)
def test_strips_bound_the_memory_and_change_nothing(network, inference, monkeypatch):
    image = pictures(1, 61, 83)[0]
    whole = probabilities(inference, network, image)
    monkeypatch.setattr(chunked_upsampling, "CHUNK_BYTES", 4 * CLASSES * 83 * 7)
    rows = [rows for rows, _ in inference.log_probabilities(network, image, lambda x: x.float() / 255)]
    assert [r.start for r in rows] == list(range(0, 61, 7)) and rows[-1].stop == 61
    assert torch.allclose(probabilities(inference, network, image), whole, atol=1e-6)


@pytest.mark.parametrize(
    "inference",
    [
        Inference(),
        Inference(scales=(0.5, 1.0), flip=True),
        Inference(scales=(0.5, 1.0), flip=True, tile=(40, 80)),
        Inference("paper", (0.5, 1.0), short_edge=(40, 80)),
    ],
)
def test_averages_are_as_exact_where_the_network_computes_in_bfloat16(inference):
    class Exact(Patches):
        """Gives the same float32 scores under autocast as without."""

        def score_map(self, x):
            with torch.autocast("cpu", enabled=False):
                return super().score_map(x).float()

    network, image = Exact(CLASSES), pictures(2, 80, 120)[0]
    expected = probabilities(inference, network, image)
    chunked_upsampling.sampling.cache_clear()
    partial_resize._weights.cache_clear()
    test_time_augmentation._view_sampling.cache_clear()
    with torch.autocast("cpu", torch.bfloat16):
        found = probabilities(inference, network, image)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_mirrored_pictures_get_mirrored_predictions(network):
    inference = Inference(scales=(0.5, 1.0), flip=True)
    image = pictures(1, 61, 83)[0]
    there, back = probabilities(inference, network, image), probabilities(inference, network, image.flip(-1)).flip(-1)
    assert torch.allclose(there, back, atol=1e-5)
    once = Inference(scales=(0.5, 1.0))
    assert not torch.allclose(
        probabilities(once, network, image), probabilities(once, network, image.flip(-1)).flip(-1), atol=1e-3
    )


@pytest.mark.parametrize("size", [(100, 80), (160, 200), (40, 300)])
@pytest.mark.parametrize("flip", [False, True])
def test_tiles_give_what_the_whole_gives_where_a_network_looks_no_further(size, flip):
    network, image = Patches(CLASSES), pictures(1, *size)[0]
    whole = probabilities(Inference(scales=(1.0, 0.8), flip=flip), network, image)
    for tile in (80, 80), (40, 120), (1000, 1000):
        found = probabilities(Inference(scales=(1.0, 0.8), flip=flip, tile=tile), network, image)
        assert found.shape == whole.shape
        # At the right and lower edge, what is interpolated towards is the repeated edge's patch or none.
        assert torch.allclose(found[..., :-4, 4:-4], whole[..., :-4, 4:-4], atol=1e-5)


def test_tiles_lie_in_place_when_the_network_enlarges_its_pictures_first():
    class Enlarging(Patches):
        def score_map(self, x):
            size = tuple(round(1.2 * side) for side in x.shape[-2:])
            return super().score_map(nn.functional.interpolate(x, size, mode="bilinear"))

    network, image = Enlarging(CLASSES), pictures(1, 200, 280)[0]
    whole, tiled = (probabilities(Inference(tile=tile), network, image) for tile in (None, (120, 160)))
    # Only pixels beside the seams can tell, for there enlarging sees another neighbour.
    assert ((tiled - whole).abs().amax(1) < 1e-4).float().mean() > 0.9


def test_no_tile_is_larger_than_asked_for():
    seen = []

    class Spy(Patches):
        def score_map(self, x):
            seen.append(tuple(x.shape[-2:]))
            return super().score_map(x)

    probabilities(Inference(tile=(64, 100), tile_overlap=0.5), Spy(CLASSES), pictures(1, 203, 310)[0])
    assert set(seen) == {(80, 120)}, "rounded up to multiples of 40"
    assert len(seen) == 5 * 6, "down 0, 40, 80, 120, 160 of 240; across 0, 40, 80, 120, 160, 200 of 320"


def test_network_of_smp_that_takes_only_divisible_sizes():
    torch.manual_seed(0)
    network = smp.FPN("resnet18", encoder_weights=None, classes=CLASSES).eval()
    image = pictures(1, 61, 83)[0]
    found = probabilities(Inference(scales=(0.7, 1.0), flip=True, tile=(64, 64)), network, image)
    assert found.shape == (1, CLASSES, 61, 83) and found.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scales": ()}, "scales"),
        ({"scales": (1.0, 0.0)}, "scales"),
        ({"tile_overlap": 1.0}, "tile_overlap"),
        ({"protocol": "paper", "tile": (512, 512)}, "tile"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Inference(**arguments)


def test_names_tell_apart_what_is_not_one_view_at_scale_1():
    assert [Inference(scales=s, flip=f).name for s, f in [((1.0,), False), ((0.8,), False), (PAPER_SCALES, True)]] == [
        "",
        "scale 0.8",
        "multi-scale, flip",
    ]
