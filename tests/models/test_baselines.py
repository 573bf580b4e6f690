"""smp's networks from the packaged ImageNet weights."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from refinenet_pl.models import baselines
from refinenet_pl.models.encoders import PACKAGED, build_encoder, normalization_of
from refinenet_pl.tasks.segmentation import SegmentationTask

NAMES = ("DeepLabV3Plus", "FPN", "PSPNet", "Unet")
ENCODER = PACKAGED[0]


@pytest.mark.parametrize("encoder", PACKAGED)
@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_has_the_weights_of_refinenets(name, encoder):
    network = getattr(baselines, name)(encoder, "imagenet", classes=5).eval()
    expected = build_encoder(encoder, "imagenet").state_dict()
    found = network.encoder.state_dict()
    assert found and all(torch.equal(tensor, expected[key]) for key, tensor in found.items())
    assert network.normalization == normalization_of(encoder)
    assert network(torch.randn(1, 3, 64, 96)).shape == (1, 5, 64, 96)


@pytest.mark.parametrize("encoder", [ENCODER, "resnet18"])
def test_what_pspnet_does_not_use_is_taken_out_and_its_scores_stay(encoder):
    whole = smp.PSPNet(encoder, encoder_weights=None, classes=5).eval()
    network = baselines.PSPNet(encoder, None, classes=5).eval()
    kept = network.state_dict()
    assert 0 < len(kept) < len(whole.state_dict())
    network.load_state_dict({name: tensor for name, tensor in whole.state_dict().items() if name in kept})
    x = torch.randn(1, 3, 64, 96)
    assert torch.allclose(network(x), whole(x), atol=1e-5)
    network.train()(x.repeat(2, 1, 1, 1)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_built_again_from_what_a_checkpoint_keeps(name):
    network = getattr(baselines, name)(ENCODER, "imagenet", classes=5)
    checkpoint: dict = {}
    SegmentationTask(network, 5).on_save_checkpoint(checkpoint)
    kept = checkpoint["network"]
    assert kept["class_path"] == f"refinenet_pl.models.baselines.{name}"
    again = getattr(baselines, name)(**kept["init_args"])
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_smp_refuses_and_smaller_pictures(name):
    network = getattr(baselines, name)(ENCODER, None, 0.5, classes=5).eval()
    x = torch.randn(1, 3, 90, 122)
    assert network.score_map(x).shape == (1, 5, 45, 61) and network(x).shape == (1, 5, 90, 122)
    whole = getattr(baselines, name)(ENCODER, None, classes=5).eval()
    whole.load_state_dict(network.state_dict())
    x = torch.randn(1, 3, 64, 96)
    assert torch.equal(whole(x), getattr(smp, name).forward(whole, x)), "smp's own scores where smp takes the size"
    small = F.interpolate(x, scale_factor=0.5, mode="bilinear")
    assert torch.allclose(network.score_map(x), whole(small), atol=1e-4)
    with pytest.raises(ValueError, match="input_scale"):
        getattr(baselines, name)(ENCODER, None, 0.0)


def test_only_the_encoders_batch_normalisation_is_frozen():
    network = baselines.DeepLabV3Plus(ENCODER, None, classes=5)
    encoder, decoder = (
        [module for module in part.modules() if isinstance(module, _BatchNorm)] for part in (network.encoder, network.decoder)
    )
    SegmentationTask(network, 5).train()
    assert encoder and not any(module.training for module in encoder)
    assert decoder and all(module.training for module in decoder)
    SegmentationTask(network, 5, freeze_batch_norm=False).train()
    assert all(module.training for module in encoder)
