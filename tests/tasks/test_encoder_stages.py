"""Learning rates that decrease from stage to stage toward the encoder's input."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from refinenet_pl.tasks.encoder_stages import stages
from refinenet_pl.tasks.optimizers import build_optimizer


@pytest.mark.parametrize("name", ["resnet18", "tu-tf_efficientnet_lite0", "mit_b0"])
def test_every_parameter_is_in_one_stage_and_later_stages_have_more_channels(name):
    encoder = smp.encoders.get_encoder(name, weights=None)
    found = stages(encoder)
    assert sorted(map(id, encoder.parameters())) == sorted(id(parameter) for stage in found for parameter in stage)
    assert len(found) in (4, 5, 8)  # of MiT, ResNet and EfficientNet-Lite, the latter two with a stem
    widths = [max(len(parameter) for parameter in stage) for stage in found]
    assert widths == sorted(widths)


def test_rates():
    network = smp.FPN("resnet18", encoder_weights=None)
    optimizer = build_optimizer("sgd", network, network.encoder, 1.0, 0.5, 0.1, decay_all=False, layer_decay=0.5)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert rates.keys() == {id(parameter) for parameter in network.parameters()}
    encoder = network.encoder
    known = {encoder.conv1: 1 / 32, encoder.layer1: 1 / 16, encoder.layer3: 1 / 4, encoder.layer4: 1 / 2, network.decoder: 1.0}
    for part, rate in known.items():
        assert {rates[id(parameter)] for parameter in part.parameters()} == {rate}
    assert all(not group["weight_decay"] for group in optimizer.param_groups if group["params"][0].dim() == 1)


@pytest.mark.parametrize("encoder", [None, nn.Conv2d(3, 4, 1)])
def test_network_without_stages(encoder):
    network = nn.Sequential(nn.Conv2d(3, 4, 1) if encoder is None else encoder)
    assert isinstance(build_optimizer("sgd", network, encoder, 1.0, 1.0, 0.0), torch.optim.SGD)
    with pytest.raises(ValueError, match=r"model\.layer_decay"):
        build_optimizer("sgd", network, encoder, 1.0, 1.0, 0.0, layer_decay=0.5)
