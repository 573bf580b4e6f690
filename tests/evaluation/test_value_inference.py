"""Predictions of continuous values from several views of an image."""

import pytest
import torch
from helpers.networks import Largest, images
from torch import nn

from refinenet_pl.datasets.values import Values
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.evaluation.value_inference import ValueInference, activate
from refinenet_pl.models.dense_network import as_dense_network

DEPTH = Values(("depth",), "depth", "m")
NORMALS = Values(("x", "y", "z"), "normals")
POINTS = Values(("left", "right"), "heatmap", swapped=((0, 1),))


class Ramps(nn.Module):
    """Outputs that depend on the column only, so that a flipped image must give flipped values."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        # From the image itself, whose red channel is its column.
        column = x[:, :1]
        return torch.cat([column + channel for channel in range(self.channels)], 1)


def image(height: int = 6, width: int = 8) -> torch.Tensor:
    return torch.arange(width, dtype=torch.uint8).view(1, 1, 1, -1).expand(2, 3, height, width)


def predict(values: Values, activation="none", **views) -> torch.Tensor:
    network = as_dense_network(Ramps(len(values)))
    return ValueInference(**views).predict(network, image(), torch.Tensor.float, activation, values)


def test_one_view():
    assert torch.equal(predict(DEPTH)[0, 0], image()[0, 0].float())


def test_flipped_view_of_an_equivariant_network_changes_nothing():
    assert torch.allclose(predict(DEPTH, flip=True), predict(DEPTH))


def test_flipped_keypoints_are_swapped():
    # Channel 1 is channel 0 plus 1; after the swap both are averaged.
    assert torch.allclose(predict(POINTS, flip=True), predict(POINTS).mean(1, keepdim=True).expand(-1, 2, -1, -1))


def test_flipped_normals_are_negated_and_unit_vectors():
    found = predict(NORMALS, activation="unit", flip=True)
    assert torch.allclose(found.norm(dim=1), torch.ones(2, 6, 8), atol=1e-6)
    assert torch.allclose(found[:, 0], torch.zeros(2, 6, 8), atol=1e-6)  # x of an image and its flip cancel


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_depth_of_a_scaled_image_is_scaled_back(scale):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.full_like(x[:, :1], 3.0)

    network = as_dense_network(Constant())
    for values, factor in (DEPTH, scale), (Values(("a",)), 1.0):
        found = ValueInference((scale,)).predict(network, image(), torch.Tensor.float, "none", values)
        assert found.shape == (2, 1, 6, 8) and torch.allclose(found, torch.tensor(3.0 * factor))


def test_names():
    assert ValueInference().name == "" and ValueInference((0.5,), True).name == "scale 0.5, flip"
    assert ValueInference((0.5, 1.0)).name == "multi-scale"


def test_activations():
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(activate(x, "exp"), x.exp()) and (activate(x, "softplus") > 0).all()
    assert torch.allclose(activate(x, "unit").norm(dim=1), torch.ones(2, 4, 5))
    assert activate(x.bfloat16(), "none").dtype == torch.float32 and torch.equal(activate(x, "sigmoid"), x.sigmoid())
    with pytest.raises(ValueError, match="activation is 'relu'"):
        activate(x, "relu")


@pytest.mark.parametrize(
    "options",
    [{"scales": ()}, {"scales": (1.0, 0.0)}, {"tile": (0, 80)}, {"tile_overlap": -0.1}, {"tile_overlap": 0.9}],
)
def test_checks_are_those_of_classes(options):
    with pytest.raises(ValueError, match="; ") as expected:
        Inference(**options)
    with pytest.raises(ValueError, match="; ") as found:
        ValueInference(**options)
    assert str(found.value) == str(expected.value)


class Pixels(nn.Module):
    """Outputs that depend on the same pixel only; records the sizes of its inputs."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels, self.sizes = channels, set()

    def forward(self, x):
        self.sizes.add(tuple(x.shape[-2:]))
        # No short normals, whose directions would magnify rounding errors.
        return torch.cat([(x[:, :1] * x[:, 1:2] + x[:, 2:]).tanh() + 2 * channel for channel in range(self.channels)], 1)


def normalize(x: torch.Tensor) -> torch.Tensor:
    return (x.float() - 120) / 60


KINDS = pytest.mark.parametrize(("values", "activation"), [(DEPTH, "softplus"), (NORMALS, "unit"), (POINTS, "sigmoid")])


@KINDS
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.7,), (0.2, 1.0, 1.4)])
@pytest.mark.parametrize("size", [(203, 310), (61, 303)])
def test_tiles_equal_the_whole_image(values, activation, flip, scales, size):
    network, image = Pixels(len(values)), images(2, *size)
    arguments = (as_dense_network(network), image, normalize, activation, values)
    found = ValueInference(scales, flip, tile=(80, 120)).predict(*arguments)
    assert max(height for height, _ in network.sizes) <= 80 and max(width for _, width in network.sizes) <= 120
    torch.testing.assert_close(found, ValueInference(scales, flip).predict(*arguments), rtol=1e-5, atol=1e-5)


@KINDS
@pytest.mark.parametrize("tile", [(70, 100), (400, 200)])
def test_tiles_as_large_as_the_image_change_nothing(values, activation, tile):
    arguments = (as_dense_network(Pixels(len(values))), images(2, 70, 100), normalize, activation, values)
    for scales, flip in ((1.0,), False), ((0.4, 1.0), True):
        found = ValueInference(scales, flip, tile).predict(*arguments)
        assert torch.equal(found, ValueInference(scales, flip).predict(*arguments))


def test_averaged_normals_are_unit_vectors():
    class Contrasts(nn.Module):
        def forward(self, x):
            return x - x.mean((2, 3), keepdim=True)  # depends on the tile

    for views in {"tile": (80, 80)}, {"scales": (0.5,)}:
        inference = ValueInference(**views)
        found = inference.predict(as_dense_network(Contrasts()), images(1, 130, 130), normalize, "unit", NORMALS)
        assert torch.allclose(found.norm(dim=1), torch.ones(1, 130, 130), atol=1e-5)


def test_tiles_need_no_float_copy_of_the_image():
    inference = ValueInference((0.1, 1.0), flip=True, tile=(80, 120))
    with Largest() as largest:
        inference.predict(as_dense_network(Pixels(1)), images(1, 700, 160), normalize, "none", DEPTH)
    # The predicted depths; the image has three channels.
    assert largest.bytes == 700 * 160 * 4
