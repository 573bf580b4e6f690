"""Predictions of continuous values from several views of an image."""

import pytest
import torch
from torch import nn

from refinenet_pl.datasets.values import Values
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


def test_names_and_scales():
    assert ValueInference().name == "" and ValueInference((0.5,), True).name == "scale 0.5, flip"
    assert ValueInference((0.5, 1.0)).name == "multi-scale"
    with pytest.raises(ValueError, match="scales are"):
        ValueInference((0.0,))


def test_activations():
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(activate(x, "exp"), x.exp()) and (activate(x, "softplus") > 0).all()
    assert torch.allclose(activate(x, "unit").norm(dim=1), torch.ones(2, 4, 5))
    assert activate(x.bfloat16(), "none").dtype == torch.float32 and torch.equal(activate(x, "sigmoid"), x.sigmoid())
    with pytest.raises(ValueError, match="activation is 'relu'"):
        activate(x, "relu")
